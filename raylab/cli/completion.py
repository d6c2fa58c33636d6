"""A script that completes the whole command in a shell: commands, options, their choices, studies and experiments."""

from __future__ import annotations

import argparse
from typing import Any

from raylab.config import DataConfig, RunConfig, StudyConfig
from raylab.config.leaves import options_of
from raylab.config.load import presets
from raylab.config.options import parser_of

SHELLS = ("bash", "zsh", "tcsh")
_STUDIES = {
    "bash": "_raylab_studies",
    "zsh": "{_raylab_studies}",
    "tcsh": f"`ls {RunConfig().storage}/studies`",
}
"""By shell, what lists the studies; those that lie under the storage root that the line names, or the usual one."""
_PREAMBLE = {
    "bash": """
_raylab_studies() {
  local root=STORAGE i
  for ((i = 1; i < ${#COMP_WORDS[@]} - 1; i++)); do
    [[ ${COMP_WORDS[i]} == --storage ]] && root=${COMP_WORDS[i+1]}
  done
  compgen -W "$(command ls -- "$root/studies" 2>/dev/null)" -- "$1"
}
""".replace("STORAGE", RunConfig().storage),
    "zsh": """
_raylab_studies() {
  local root=STORAGE i
  i=${words[(i)--storage]}
  (( i < $#words )) && root=${words[i+1]}
  compadd -- $root/studies/*(N/:t)
}
""".replace("STORAGE", RunConfig().storage),
}


def completion(shell: str) -> str:
    """The script.

    Args:
        shell: one of `SHELLS`.
    """
    import shtab

    return str(shtab.complete(command_line(), shell=shell, preamble=_PREAMBLE.get(shell, "")))


def command_line() -> argparse.ArgumentParser:
    """All commands and their options as one parser, which only describes them."""
    import shtab

    from raylab.cli.commands import COMMANDS
    from raylab.experiment import Experiment, experiments

    whole = argparse.ArgumentParser("raylab", add_help=False)
    for flag in ("-h", "--help", "--version"):
        whole.add_argument(flag, action="store_true")
    whole.add_argument("--print-completion", choices=SHELLS)
    commands = whole.add_subparsers()
    for command in COMMANDS.values():
        # What all experiments share stands for each one's options.
        model = command.options or Experiment
        options = parser_of(model, f"raylab {command.name}")
        parser = commands.add_parser(command.name, help=command.summary, add_help=False, parents=[options])
        _complete(parser, model)
        if command.options is None:
            parser.add_argument("name", choices=list(experiments()))
        elif command.takes_words:
            parser.add_argument("command").complete = shtab.FILE  # type: ignore[attr-defined]
    commands.add_parser("help", add_help=False).add_argument("command", choices=list(COMMANDS))
    return whole


def _complete(parser: argparse.ArgumentParser, model: Any) -> None:
    """Say what the values of options may be."""
    import shtab

    from raylab.data import DATASETS

    choices = {option.path: option.choices for option in options_of(model)}
    for action in parser._actions:
        if "--config" in action.option_strings:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif "--preset" in action.option_strings:
            action.choices = list(presets())
        elif action.dest.endswith(("storage", "root", "output", "regions", "labelled", "working_dir", "runtime_env")):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest.endswith("data.name") or (action.dest == "name" and issubclass(model, DataConfig)):
            action.choices = list(DATASETS)
        elif action.dest in ("name", "names") and model not in (RunConfig, StudyConfig):
            action.complete = _STUDIES  # type: ignore[attr-defined]
        elif choices.get(action.dest):
            action.choices = choices[action.dest]
