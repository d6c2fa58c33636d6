"""The command that compares what lies under a storage root with what was committed."""

from __future__ import annotations

from raylab.cli.results import StudyOptions


class VerifyOptions(StudyOptions):
    """A study that was begun, and whether it is repaired."""

    repair: bool = False
    """Move aside what is damaged and what was made from it, so that the same study command goes on from the step
    before; first every file is named, and what it costs."""


def verify(options: VerifyOptions) -> None:
    """Every file of a study compared with its hash: what is damaged or missing, and what that costs."""
    from raylab.files import Folder
    from raylab.runs.verify import repair_study, verify_study

    store = Folder(options.storage, create=False)
    found = verify_study(store, options.name)
    for line in found.lines():
        print(line)
    if not found.damages:
        return
    if not options.repair:
        print("raylab verify --repair moves aside what is damaged; the same study command then goes on")
        raise SystemExit(1)
    repair_study(store, found, print)
    print("the same study command goes on from there")
