"""The command that brings another to a cluster."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from raylab.config.options import parse
from raylab.config.sections import Frozen
from raylab.errors import ConfigError

_PROG = "raylab submit"


class SubmitOptions(Frozen):
    """Where a job goes, and what it brings."""

    address: str | None = None
    """The cluster's dashboard, `http://host:8265`; when not given, RAY_API_SERVER_ADDRESS, else this machine's."""
    working_dir: str = "."
    """Folder that the job brings, in which it runs; the script lies below it."""
    runtime_env: str | None = None
    """YAML file of Ray's runtime environment; when not given, raylab's cluster/runtime_env.yaml."""
    submission_id: str | None = None
    """Name of the job; when not given, Ray's."""
    wait: bool = True
    """Follow it to its end."""


def submit(args: Sequence[str]) -> None:
    """A script or command as a job of a Ray cluster, after a look at its nodes; followed to its end.

    raylab submit [OPTIONS] SCRIPT|COMMAND [ARGUMENTS]; its exit status is the job's.
    """
    before, command = _split(list(args))
    if "--help" in before or "-h" in before:
        parse(SubmitOptions, ["--help"], _PROG, inspect.getdoc(submit))
    if not command:
        raise ConfigError(f"{_PROG}: name a script or a command, such as experiments/ablation_tau.py --smoke")
    from raylab.submit import submit as submit_job

    options = parse(SubmitOptions, before, _PROG)
    status = submit_job(
        command,
        options.address,
        options.working_dir,
        options.runtime_env,
        options.submission_id,
        wait=options.wait,
    )
    if status:
        raise SystemExit(status)


def _split(args: list[str]) -> tuple[list[str], list[str]]:
    """Options of this command, and the command that is submitted with its own."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        if args[at] == "--":
            return args[:at], args[at + 1 :]
        switch = "=" in args[at] or args[at] in ("--wait", "--no-wait", "-h", "--help")
        at += 1 if switch else 2
    return args[:at], args[at:]
