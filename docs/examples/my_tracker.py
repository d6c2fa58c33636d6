"""A study in TensorBoard: what its runs have committed, read from the storage root; safe to repeat while it runs.

python my_tracker.py raylab-results camvid tensorboard-logs
"""

import sys
from pathlib import Path

from tensorboardX import SummaryWriter

from raylab.files import Folder
from raylab.runs import stored_study
from raylab.runs.rounds import STEPS
from raylab.tracking.payload import budget, metrics, run_child


def mirror(storage: str, study: str, logs: str) -> None:
    """Write every committed metric of a study, the number of labelled regions as the step."""
    folder = Folder(storage, create=False)
    for run in stored_study(folder, study).runs:
        child = run_child(folder, run)
        target = Path(logs, child.name)
        for old in target.glob("events.*"):  # written anew each time: nothing is kept but what the store says
            old.unlink()
        with SummaryWriter(str(target)) as writer:
            for t, round_store in enumerate(child.rounds):
                for step in STEPS:
                    if record := child.record(t, step):
                        for name, value in metrics(step, record):
                            writer.add_scalar(name, value, budget(round_store, record))


if __name__ == "__main__":
    mirror(*sys.argv[1:])
