"""`raylab sync`: to MLflow what a study's own process could not send."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raylab.errors import StoreError, TrackingError
from raylab.files import Folder
from raylab.runs import ResolvedStudy, RunStore
from raylab.tracking.address import experiment_for, hidden, tracking_for, ui_command
from raylab.tracking.client import Client, cause_of
from raylab.tracking.sync import MlflowSync


def catch_up(
    store: Folder,
    studies: Sequence[ResolvedStudy],
    tracking: str | None = None,
    experiment: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Send what MLflow does not have of some studies: runs, metrics, ledgers and reports; safe to repeat.

    Args:
        store: of the results.
        studies: with their runs.
        tracking: address; when not given, that of each study (see `tracking_for`).
        experiment: name; when not given, that of each study.
        say: takes a line for the person who waits.

    Raises:
        TrackingError: an address can never work, or a server does not answer.
        StoreError: committed files are missing or damaged; what does not hang on them was sent.
    """
    clients: dict[tuple[str, str], Client] = {}
    problems = []
    for study in studies:
        shared = study.config.run
        address = tracking_for(tracking or shared.tracking, store), experiment_for(experiment or shared.experiment)
        if address not in clients:
            clients[address] = Client(*address)
        if problem := _send(clients[address], store, study, say):
            problems.append(problem)
    for uri in dict.fromkeys(uri for uri, _ in clients):
        say(f"MLflow:  {ui_command(uri)}")
    if problems:
        raise StoreError("\n".join(problems))


def _send(client: Client, store: Folder, study: ResolvedStudy, say: Callable[[str], None]) -> str:
    """Send a study and say what; a problem of its files is returned."""
    points, files, problem = client.points, client.files, ""
    try:
        MlflowSync(client).send(store, study.name, list(study.runs), report=True)
        for run in study.runs:
            RunStore(store, run).check_order()
    except StoreError as error:
        problem = str(error)
    except Exception as error:  # every layer below (requests, SQLAlchemy, boto3) raises its own
        raise TrackingError(
            f"tracking: MLflow at {hidden(client.uri)} cannot be reached ({cause_of(error)}); start it, or give "
            "another address with --tracking; nothing is sent twice"
        ) from None
    points, files = client.points - points, client.files - files
    sent = f"{points:,} values and {files:,} files sent" if points or files else "nothing new"
    say(f"{study.name}: {len(study.runs)} runs, {sent}")
    return problem
