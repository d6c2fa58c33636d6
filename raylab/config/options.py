"""The command line: options made from a configuration's fields, read, refused in one line and explained.

Every leaf of a configuration is one option, named by its way through the sections (`--run.training.epochs`). argparse
splits the line into words; what a word may be is for the configuration itself to say, so that a wrong value has one
message whether it stands in a file or on the command line.
"""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel

from raylab.config import RunConfig, StudyConfig
from raylab.config.leaves import Option, Positional, Repeated, options_of, sections_of
from raylab.config.load import Layer, presets, read_layers, takes_presets
from raylab.errors import ConfigError, nearest

Model = TypeVar("Model", bound=BaseModel)

FIRST: dict[type[BaseModel], tuple[str, ...]] = {
    RunConfig: (
        "name", "data.name", "data.root", "strategy.name", "seed", "regions.size", "budget.initial", "budget.rounds",
        "model.backbone", "training.iterations", "compute.workers", "compute.device", "storage", "tracking", "plugins",
    ),
    StudyConfig: (
        "name", "run.data.name", "run.data.root", "strategies", "seeds", "run.regions.size", "run.budget.initial",
        "run.budget.rounds", "run.model.backbone", "run.training.iterations", "supervised", "run.compute.workers",
        "run.compute.device", "run.storage", "run.tracking", "plugins",
    ),
}  # fmt: skip
"""Options that people need first, in the order of the short help; the others are told on request."""
_RUN = "run."
_HELP = ("-h", "--help", "--help-all")


def parse(
    model: type[Model], args: Sequence[str], prog: str, description: str | None = None, default: Model | None = None
) -> Model:
    """Read options, those of the command line in place of those of `--config FILE.yaml` and `--preset NAME`.

    Both may be given several times; a later one wins over an earlier one.

    Args:
        model: the configuration to make.
        args: the command line after the command.
        prog: name shown in the help.
        description: shown in the help.
        default: values where neither file nor command line names one.

    Raises:
        ConfigError: an option or a key is unknown (the nearest known one is named), or a value does not fit.
        SystemExit: with 0 after --help.
    """
    if any(arg in _HELP for arg in args):
        print(help_text(model, args, prog, description, default))
        raise SystemExit(0)
    layers, values, unknown = _split(model, args, prog)
    if unknown:
        raise ConfigError(_unknown(unknown[0], model, prog))
    return read_layers(model, layers, _nested(model, values), default)


def _split(model: type[BaseModel], args: Sequence[str], prog: str) -> tuple[list[Layer], dict[str, Any], list[str]]:
    """Files and presets, options with their words, and what is neither."""
    given, unknown = parser_of(model, prog).parse_known_args([_hyphens(arg) for arg in args])
    values = vars(given)
    return values.pop("layers", []), values, unknown


def parser_of(
    model: type[BaseModel],
    prog: str,
    description: str | None = None,
    every: Sequence[Option] | None = None,
    shown: Sequence[str] | None = None,
) -> argparse.ArgumentParser:
    """The parser of a configuration's options.

    Args:
        model: of the configuration.
        prog: name of the command.
        description: shown in the help.
        every: its options, where their defaults are not the model's.
        shown: paths of the options that the help tells; None tells all.
    """
    every = list(options_of(model)) if every is None else every
    positional = [option for option in every if option.marked(Positional)]
    usage = " ".join([prog, "[-h] [OPTIONS]", *(_usage(option) for option in positional)])
    parser = _Parser(
        prog=prog, usage=usage, description=description, add_help=False, allow_abbrev=False, formatter_class=_Help
    )
    groups = {"": parser.add_argument_group("options")}
    if len({option.section for option in every}) > 1:
        text = "show this, or the options of some sections"
        groups[""].add_argument("--help", nargs="*", metavar="SECTION", help=text)
        groups[""].add_argument("--help-all", action="store_true", help="show every option")
    else:
        groups[""].add_argument("--help", action="store_true", help="show this")
    groups[""].add_argument(
        "--config", metavar="FILE", action=_AddLayer, help="read any of these options from a YAML file"
    )
    if takes_presets(model):
        text = f"start from settings that raylab brings, `--preset NAME --help` shows them: {', '.join(presets())}"
        groups[""].add_argument("--preset", metavar="NAME", action=_AddLayer, help=text)
    descriptions = dict(sections_of(model))
    order = {path: index for index, path in enumerate(shown or ())}
    for option in sorted(every, key=lambda option: order.get(option.path, 0)):
        section = option.section if shown is None else ""
        if section not in groups:
            groups[section] = parser.add_argument_group(section, descriptions[section])
        _add(groups[section], option, shown is None or option.path in shown)
    return parser


def help_text(
    model: type[BaseModel], args: Sequence[str], prog: str, description: str | None, default: BaseModel | None = None
) -> str:
    """The help that a command line asks for: the options needed first, some sections, or all.

    Args:
        model: of the configuration.
        args: the command line, with `--help [SECTION ...]` or `--help-all`.
        prog: name of the command.
        description: of the command.
        default: values where nothing is given.

    Raises:
        ConfigError: a section is unknown.
    """
    every = list(_with_defaults(model, args, prog, default))
    sections = {name.removeprefix(_RUN): name for name, _ in sections_of(model)}
    wanted = [word for word in args[max(args.index(arg) for arg in _HELP if arg in args) + 1 :] if word[:1] != "-"]
    for word in wanted:
        if word not in sections and word not in sections.values():
            known = f"; there are {', '.join(sections)}" if sections else ", which has no sections"
            raise ConfigError(f"--help: no section {word!r} of {prog}{nearest(word, sections)}{known}")
    if wanted:
        names = [sections.get(word, word) for word in wanted]
        chosen = [o for o in every if any(f"{o.section}.".startswith(f"{name}.") for name in names)]
    elif "--help-all" in args or not sections:
        return parser_of(model, prog, description, every).format_help()
    else:
        chosen = first_options(model, every)
    parser = parser_of(model, prog, description, every, [option.path for option in chosen])
    text = f"{len(every) - len(chosen)} more options: --help-all, or --help SECTION: {', '.join(sections)}"
    parser.epilog = textwrap.fill(text, _width())
    return parser.format_help()


def _with_defaults(
    model: type[BaseModel], args: Sequence[str], prog: str, default: BaseModel | None
) -> Iterator[Option]:
    """The options with the defaults that they have after the files and presets of a command line that asks for help."""
    if any(field.is_required() for field in model.model_fields.values()):
        yield from options_of(model)
        return
    before = args[: min(args.index(arg) for arg in _HELP if arg in args)]
    layers, _, _ = _split(model, before, prog)
    found = read_layers(model, layers, {}, default)
    if layers or not takes_presets(model):
        yield from options_of(model, found)
        return
    for option in options_of(model, default, found):
        # A size of the scenes has no meaning elsewhere.
        scenes = ".synthetic." in f".{option.path}" and not option.path.startswith(f"{_RUN}pretraining")
        yield replace(option, default=option.on_scenes) if scenes else option


def first_options(model: type[BaseModel], every: Sequence[Option]) -> list[Option]:
    """The options of the short help, in its order: those of `FIRST`, or of another command those of its own."""
    own = {option.path: option for option in every if not option.section}
    first = FIRST.get(model, tuple(own))
    found = {option.path: option for option in every}
    return [found[path] for path in first]


class _Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what the user reads."""
        raise ConfigError(f"{message.removeprefix('argument ')}; {self.prog} --help lists the options")


class _Help(argparse.RawDescriptionHelpFormatter):
    """At most 100 columns, descriptions as they were written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_width())


def _width() -> int:
    return min(100, shutil.get_terminal_size().columns)


class _AddLayer(argparse.Action):
    """Collects `--config` and `--preset` in the order in which they were given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add one."""
        if not values:
            parser.error(f"{option_string}: expected one argument")
        namespace.layers = [*getattr(namespace, "layers", []), Layer(option_string or "", values)]


class _Switch(argparse.Action):
    """Sets True by one name and False by the other."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Set it."""
        setattr(namespace, self.dest, option_string == self.option_strings[0])


def _add(group: Any, option: Option, shown: bool) -> None:
    text = option.help.replace("%", "%%") if shown else argparse.SUPPRESS
    common = {"dest": option.path, "default": argparse.SUPPRESS, "help": text}
    if positional := option.marked(Positional):
        # Whether it may be missing is for the configuration to say: a file can give it.
        nargs = option.several or "?"
        common.pop("dest")
        group.add_argument(option.path, nargs=nargs, metavar=positional.metavar, **common)
    elif option.is_switch:
        group.add_argument(option.flag, option.off, action=_Switch, nargs=0, **common)
    elif option.marked(Repeated):
        group.add_argument(option.flag, action="append", metavar=option.metavar, **common)
    else:
        group.add_argument(option.flag, nargs=option.several, metavar=option.metavar, **common)


def _usage(option: Option) -> str:
    word = option.marked(Positional).metavar
    if option.several:
        return f"[{word} ...]"
    return str(word) if option.field.is_required() else f"[{word}]"


def _nested(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    known = {option.path: option for option in options_of(model)}
    nested: dict[str, Any] = {}
    for path, words in values.items():
        if path in known:
            *sections, name = path.split(".")
            inner = nested
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[name] = words if isinstance(words, bool) else known[path].value(words)
    return nested


def _unknown(word: str, model: type[BaseModel], prog: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is not expected here; {prog} --help lists the options"
    name = word.partition("=")[0]
    every = [option for option in options_of(model) if not option.marked(Positional)]
    known = [*_HELP, "--config", *["--preset"] * takes_presets(model)]
    known += [flag for option in every for flag in (option.flag, *[option.off] * option.is_switch)]
    # A list of the study's, then a field of a section: what people mean who leave out the way to it.
    meant = [flag for flag in known if flag in (f"{name}s", f"{name}.name") or flag.endswith(f".{name.lstrip('-')}")]
    hint = f"; did you mean {meant[0]!r}?" if meant else nearest(name, known)
    return f"unknown option {name}{hint or f'; {prog} --help lists them'}"


def _hyphens(arg: str) -> str:
    """Options are found under their field's own spelling too: `--run.batch_size`."""
    name, equals, value = arg.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if arg.startswith("--") else arg
