"""Fuzzes the parsers of `test_fuzz` for as long as it is told: `python -m tests.faults.fuzz --seconds 60 [PARSER ...]`.

Atheris makes the inputs, from what raylab's code did with those before. It is no dependency: `pip install atheris`, on
Linux. An input from which something else than a value or a RaylabError came is kept in a file and named; where that is
mended, the input joins `REGRESSIONS` of `test_fuzz`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_INSTRUMENTED = ["raylab", "yaml", "PIL"]
_LONGEST = 30
"""Seconds that one input may take."""


def main(args: Sequence[str] | None = None) -> None:
    """Fuzz each parser in a process of its own, and end with 1 if anything was found."""
    options = _options().parse_args(args)
    if find_spec("atheris") is None:
        sys.exit("error: atheris is not installed; pip install atheris (it has wheels for Linux on x86-64)")
    if options.here:
        _fuzz(*options.parsers, options.seconds, options.found)
    from tests.faults.test_fuzz import PARSERS

    if unknown := set(options.parsers) - set(PARSERS):
        sys.exit(f"error: no parser {', '.join(sorted(unknown))}; there are: {', '.join(PARSERS)}")
    sys.exit(any([_fuzz_apart(name, options.seconds, options.found) for name in options.parsers or PARSERS]))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help="as test_fuzz names them; default: all")
    parser.add_argument("--seconds", type=float, default=60, help="for each parser")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder for inputs that found something")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


def _fuzz_apart(name: str, seconds: float, found: Path) -> bool:
    """Fuzz a parser, say how that went, and tell whether something was found; atheris ends its process."""
    found.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.faults.fuzz", "--here", "--seconds", str(seconds), "--found", str(found)]
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [*command, name], env={**os.environ, "TMPDIR": scratch}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        # A crash of native code, or an input that took too long: libFuzzer has kept it.
        print(f"{name}: ended with {done.returncode}\n{done.stderr[-2000:]}", flush=True)
        return True
    print(f"{name}: {done.stdout.splitlines()[-1]}", flush=True)
    return "found" in done.stdout


def _fuzz(name: str, seconds: float, found: Path) -> None:
    """Fuzz a parser in this process, say how that went, and end."""
    import atheris

    warnings.simplefilter("ignore")
    # What is imported before is not looked into.
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from raylab.errors import RaylabError
        from tests.faults.test_fuzz import PARSERS, inputs
    from hypothesis import given, settings

    folder, corpus = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    parser = PARSERS[name](folder)
    (corpus / "good").write_bytes(parser.good)
    seen, places = Counter[str](), set[str]()
    begin = time.monotonic()

    def check(content: bytes) -> None:
        if time.monotonic() - begin > seconds:
            print(_summary(seen, time.monotonic() - begin), flush=True)
            os._exit(0)
        try:
            parser.read(content)
            seen["read"] += 1
        except RaylabError:
            seen["told"] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # native parts raise what is no Exception
            frame = traceback.extract_tb(error.__traceback__)[-1]
            if (place := f"{type(error).__name__} {frame.filename}:{frame.lineno}") not in places:
                places.add(place)
                seen["found"] = len(places)
                _keep(found / f"{name.replace(' ', '-')}-{len(places)}", content, error)

    options = (f"-timeout={_LONGEST}", f"-artifact_prefix={found}/{name.replace(' ', '-')}-", "-rss_limit_mb=8192")
    feed = check
    if parser.sealed:  # of bytes hardly any are JSON: here they choose what is edited
        feed = settings(database=None, deadline=None)(given(inputs(parser))(check)).hypothesis.fuzz_one_input
    atheris.Setup([sys.argv[0], *options, str(corpus)], feed)
    atheris.Fuzz()


def _summary(seen: Counter[str], seconds: float) -> str:
    counts = ", ".join(f"{count:,} {what}" for what, count in seen.items())
    return f"{counts}; {(seen['read'] + seen['told']) / seconds:,.0f} inputs/s"


def _keep(path: Path, content: bytes, error: BaseException) -> None:
    path.write_bytes(content)
    path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")


if __name__ == "__main__":
    main()
