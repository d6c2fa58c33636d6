"""Table V: how long a round's selection takes.

The pool has Cityscapes' geometry (2975 images of 1024 x 2048, N = 128: 380,800 regions, d = 128) and structure, but is
generated. Row r is the round that doubles the labelled set to r regions: |L| = K = r / 2. Beside ours, in the same
run on one thread: the paper's seconds on a V100; the naive algorithm; and public packages
that do Core-Set, where they are installed (`python -m pip install scikit-activeml fpsample`). Ours are whole
selections, set-up included; the others' are extrapolated from a few timed picks, because whole they take from minutes
to hours.

    python experiments/selection_runtime.py                  about 10 minutes; see --help
    python experiments/selection_runtime.py --smoke          seconds: shows that everything works, means nothing
"""

from __future__ import annotations

import csv
import io
import os
import platform
import sys
from pathlib import Path
from typing import Any

# Read when NumPy is imported: seconds are CPU seconds, and only compare on one thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[1]))  # the peers are shared with benchmarks

import matplotlib.pyplot as plt
import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt

from benchmarks.peers import Cost, feature_peers, ours, public_peers, spatial_peers
from benchmarks.pools import DIMENSIONS, pool
from raylab import __version__
from raylab.config.options import parse
from raylab.errors import ConfigError, exit_cleanly
from raylab.files import Folder
from raylab.report import paper_table

OBJECTIVES = ("entropy", "entropy+spatial", "entropy+feature", "core-set")
PAPER = {(quote.strategy, quote.budget): quote.value for quote in paper_table("V")}
"""Table V's seconds on a V100."""
CITYSCAPES = 2975
NAIVE = {"    naive": ("gemv_seconds", "formula_seconds"), "   direct": ("direct_seconds", "gather_seconds")}
FOOTNOTE = """row: |L| + K with |L| = K; ~: extrapolated from timed picks
naive: a float64 matrix-vector product a pick or Eq. 6 in NumPy; direct: ((X - x)**2).sum(1) or a table of distances"""
NAMES = {
    "gemv": "naive, matrix-vector product",
    "gemv32": "the same in float32, not exact",
    "gather": "naive, table of distances",
    "direct": "naive, ((X - x)**2).sum(1)",
    "formula": "naive, Eq. 6 in NumPy",
}


class SelectionRuntime(BaseModel):
    """Table V: seconds of a round's selection."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rows: tuple[PositiveInt, ...] = (2_000, 4_000, 8_000, 16_000, 32_000)
    """Labelled regions after the round; half of them are its picks."""
    images: PositiveInt = CITYSCAPES
    """Images of 8 x 16 regions in the pool."""
    picks: PositiveInt = 20
    """Picks of a peer that are timed."""
    repeat: PositiveInt = 3
    """Whole selections of ours that are timed; the median counts."""
    decay: float = 0.8
    """Component i of the features has the standard deviation i^-decay; 0 is flat, the hardest."""
    output: str = "raylab-results/selection-runtime"
    """Folder or URI for selection_runtime.csv, .png and .json."""
    smoke: bool = False
    """20,480 regions and two small rows."""


def measure(options: SelectionRuntime) -> tuple[list[dict[str, Any]], list[Cost]]:
    """The rows of the table, objective by objective, and what the peers take.

    Raises:
        ConfigError: a row is larger than the pool.
    """
    regions, u, features = pool(options.images, options.decay)
    if max(options.rows) > regions.n_regions or min(options.rows) < 32:
        raise ConfigError(f"rows: {options.rows} do not lie between 32 and the pool's {regions.n_regions} regions")
    order = np.random.default_rng(1).permutation(regions.n_regions)
    say(f"{regions.n_regions:,} regions, d = {DIMENSIONS}, one thread of {cpu_model()}")
    say("timing the peers ...")
    spatial = list(spatial_peers(regions, u, options.picks))
    feature = list(feature_peers(u, features, options.picks))
    public = list(public_peers(features, order[: min(options.rows) // 2], options.picks, say))
    peers = {"entropy": [], "entropy+spatial": spatial, "entropy+feature": feature, "core-set": feature + public}
    table = []
    for objective in OBJECTIVES:
        for total in options.rows:
            k = total // 2
            seconds, share, picks = ours(objective, regions, u, features, order[:k], k, options.repeat)
            row = {"objective": objective, "labelled_after": total, "labelled_before": k, "picks": k}
            paper = PAPER.get((objective, total)) if options.images == CITYSCAPES else None
            row |= {"paper_v100_seconds": paper, "ours_seconds": seconds}
            row |= {f"{peer.name}_seconds": peer.seconds(k, k) for peer in peers[objective]}
            row["pairs_evaluated"] = share if "feature" in objective or objective == "core-set" else None
            table.append(row)
            say(f"{objective:<16} {total:>7,} regions: ours {seconds:.3f} s")
            if total == min(options.rows):
                check_agreement(peers[objective], picks.region_id)
    return table, spatial + feature + public


def check_agreement(peers: list[Cost], picks: Any) -> None:
    """Say whether the peers that were given the same labelled set begin with the same picks."""
    for peer in peers:
        if peer.picks is not None:
            same = int((peer.picks == picks[: len(peer.picks)]).sum())
            say(f"{peer.name}: {same} of its first {len(peer.picks)} picks are ours")


def format_table(table: list[dict[str, Any]]) -> str:
    """Table V, for a person."""
    known = list(dict.fromkeys(name for row in table for name in row if name.endswith("_seconds")))
    packages = {name.removesuffix("_seconds"): (name,) for name in known if " " in name}
    columns = {"paper, V100": ("paper_v100_seconds",), "ours": ("ours_seconds",), **NAIVE, **packages}
    lines = ["seconds".ljust(16) + "row".rjust(8) + "".join(f"{head:>{len(head) + 4}}" for head in columns)]
    lines[0] += "   naive/ours"
    for row in table:
        cells = []
        for head, names in columns.items():
            value = next((row[name] for name in names if row.get(name) is not None), None)
            mark = "" if head in ("ours", "paper, V100") else "~"
            text = "" if value is None else f"{mark}{value:,.{0 if value >= 100 else 3}f}"
            cells.append(f"{text:>{len(head) + 4}}")
        naive = next((row[name] for name in NAIVE["    naive"] if name in row), None)
        cells.append("" if naive is None else f"{naive / row['ours_seconds']:>12,.0f}x")
        lines.append(f"{row['objective']:<16}{row['labelled_after']:>8,}" + "".join(cells))
    return "\n".join([*lines, FOOTNOTE])


def to_csv(table: list[dict[str, Any]]) -> str:
    """The table with all columns; empty where a number is not known or does not apply."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in table for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def to_png(table: list[dict[str, Any]], title: str) -> bytes:
    """Seconds over the size of the round, one panel an objective, both axes logarithmic."""
    figure, panels = plt.subplots(1, len(OBJECTIVES), figsize=(13, 5), sharey=True, layout="constrained")
    for panel, objective in zip(panels, OBJECTIVES, strict=True):
        rows = [row for row in table if row["objective"] == objective]
        for name in (name for name in rows[0] if name.endswith("_seconds")):
            points = [(row["labelled_after"], row[name]) for row in rows if row[name] is not None]
            short = name.removesuffix("_seconds")
            style = {"ours": "o-", "paper_v100": "k*"}.get(short, "s--")
            label = {"ours": "ours", "paper_v100": "the paper, V100"}.get(short, NAMES.get(short, short))
            if points:
                panel.plot(*zip(*points, strict=True), style, label=label, linewidth=2.5 if short == "ours" else 1.2)
        panel.set(title=objective, xscale="log", yscale="log", xlabel="labelled regions after the round")
        panel.set_xticks([row["labelled_after"] for row in rows], [f"{row['labelled_after']:,}" for row in rows])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)  # off the points
    panels[0].set_ylabel("seconds (dashed: extrapolated)")
    figure.suptitle(title)
    out = io.BytesIO()
    figure.savefig(out, dpi=150)
    plt.close(figure)
    return out.getvalue()


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()


def machine(peers: list[Cost]) -> dict[str, Any]:
    """What the seconds were measured on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": {name: os.environ[name] for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")},
        "versions": {
            "raylab": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "blas": f"{blas['name']} {blas['version']}",
            **dict(peer.name.split() for peer in peers if " " in peer.name),
        },
    }


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main(options: SelectionRuntime) -> None:
    """Measure, print, and write the three files."""
    if options.smoke:
        options = options.model_copy(update={"images": 160, "rows": (512, 2_048), "picks": 3, "repeat": 1})
    store = Folder(options.output)
    table, peers = measure(options)
    result = {
        "options": options.model_dump(),
        "machine": machine(peers),
        "peers": {p.name: {"per_member": p.per_member, "per_pick": p.per_pick, "fixed": p.fixed} for p in peers},
        "table": table,
        "notes": "CPU seconds; ours the median of whole selections, the peers' extrapolated from timed picks",
    }
    name = "selection_runtime"
    store.write_json(f"{name}.json", result)
    store.write_bytes(f"{name}.csv", to_csv(table).encode())
    title = f"Selection from {options.images * 128:,} regions, d = {DIMENSIONS}, one thread of {cpu_model()}"
    store.write_bytes(f"{name}.png", to_png(table, title))
    say("\n" + format_table(table))
    say(f"Written: {store.uri_of(name)}.{{csv,png,json}}")


if __name__ == "__main__":
    plt.switch_backend("agg")
    with exit_cleanly():
        main(parse(SelectionRuntime, sys.argv[1:], os.path.basename(sys.argv[0]), __doc__))
