"""The table of commands: what each does, the options it takes, and how it is told in the help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from raylab.cli import about, inputs, results, studies, submit, verify
from raylab.config import DataConfig, RunConfig, StudyConfig
from raylab.config.load import takes_presets
from raylab.config.options import parse
from raylab.config.sections import Extensible


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: on the command line.
        action: called with its options; its docstring is the command's help.
        options: a configuration whose fields are the options; None where another program has them.
        takes_words: hand the words over as they are, since not all are this command's.
    """

    name: str
    action: Callable[[Any], None]
    options: type[BaseModel] | None
    takes_words: bool = False

    @property
    def summary(self) -> str:
        """One line for the list of commands."""
        return (self.action.__doc__ or "").strip().splitlines()[0]

    @property
    def description(self) -> str:
        """The same for its own help, with the data sets that there are."""
        if self.options is None or not (takes_presets(self.options) or issubclass(self.options, DataConfig)):
            return self.summary
        from raylab.data import DATASETS

        return f"{self.summary}\nData sets: {', '.join(DATASETS)}."

    def __call__(self, args: Sequence[str]) -> None:
        """Read the options, and do it.

        Args:
            args: the command line after the command.

        Raises:
            RaylabError: an error that the user can fix.
        """
        if self.options is None or self.takes_words:
            self.action(args)
        else:
            self.action(parse(self.options, args, f"raylab {self.name}", self.description))


GROUPS: dict[str, tuple[Command, ...]] = {
    "studies": (
        Command("demo", studies.demo, studies.DemoOptions),
        Command("study", studies.study, StudyConfig),
        Command("run", studies.run, RunConfig),
        Command("plan", studies.plan, StudyConfig),
        Command("experiment", studies.experiment, None),
        Command("submit", submit.submit, submit.SubmitOptions, takes_words=True),
    ),
    "results": (
        Command("status", results.status, results.StatusOptions),
        Command("report", results.report, results.StudyOptions),
        Command("replay", results.replay, results.ReplayOptions),
        Command("verify", verify.verify, verify.VerifyOptions),
        Command("sync", results.sync, results.SyncOptions),
    ),
    "data and selection": (
        Command("check", inputs.check, inputs.CheckOptions),
        Command("pack", inputs.pack, inputs.PackOptions),
        Command("datasets", inputs.datasets, Extensible),
        Command("strategies", inputs.strategies, Extensible),
        Command("select", inputs.select, inputs.SelectOptions),
    ),
    "raylab itself": (Command("info", about.info, about.InfoOptions),),
}
COMMANDS: dict[str, Command] = {command.name: command for group in GROUPS.values() for command in group}


def overview() -> str:
    """What `raylab --help` says."""
    lines = ["usage: raylab COMMAND [OPTIONS]"]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {command.name:<12}{command.summary}" for command in commands)]
    return "\n".join(
        [
            *lines,
            "",
            "Begin with raylab demo, which needs no data; then raylab check and raylab plan on data of your own.",
            "raylab help COMMAND tells the options people need first, raylab COMMAND --help-all every one;",
            "--config FILE.yaml reads them from a file. raylab --version tells versions, and",
            "raylab --print-completion bash|zsh|tcsh prints a script that completes commands and options.",
        ]
    )
