"""The command line: `raylab COMMAND [OPTIONS]`.

One module a group of commands, one table of them all (`commands.py`). Every option of a command can also come from a
YAML file (`--config study.yaml`); options given on the command line win.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from raylab.cli.about import versions
from raylab.cli.commands import COMMANDS, Command, overview
from raylab.cli.completion import SHELLS, completion
from raylab.errors import RaylabError, exit_cleanly, nearest

__all__ = ["COMMANDS", "main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exits with 2 after one clear message for every error that the user can fix."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        with exit_cleanly():
            _dispatch(args)
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has had enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _dispatch(args: list[str]) -> None:
    first = args[0] if args else ""
    if first in ("", "-h", "--help") or args == ["help"]:
        print(overview())
        raise SystemExit(0 if args else 2)
    if first == "--version":
        print(versions())
    elif first == "--print-completion":
        if len(args) != 2 or args[1] not in SHELLS:
            raise RaylabError(f"--print-completion: name one shell of {', '.join(SHELLS)}")
        print(completion(args[1]))
    elif first == "help":
        _command(args[1])(["--help", *args[2:]])
    else:
        _command(first)(args[1:])


def _command(name: str) -> Command:
    if name not in COMMANDS:
        raise RaylabError(f"unknown command {name!r}{nearest(name, COMMANDS)}; raylab --help lists them")
    return COMMANDS[name]
