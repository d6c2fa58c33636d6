"""What lies in the folder of a data set whose files are not where they were looked for, and the lines for dataset.yaml
that name it."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from raylab.data.base import Split
from raylab.data.folder_spec import FILE_NAME
from raylab.data.layout import IMAGE_EXTENSIONS, JPEG, SPLITS, Entry, Layout, of_system
from raylab.data.source import Source

_SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "tr"),
    "val": ("val", "valid", "validation", "dev", "eval"),
}
_MASK_WORDS = re.compile(r"mask|label|annot|^ann|_ann|^gt|_gt|ground.?truth|segment|target", re.IGNORECASE)
_IMAGE_WORDS = re.compile(r"image|img|photo|picture|jpeg|rgb|frame|input|^x$", re.IGNORECASE)
_TOLD = 8


@dataclass
class _Kind:
    """Folders that differ in the split alone.

    Attributes:
        files: in them, by extension.
        splits: name of each split's folder.
    """

    files: Counter[str] = field(default_factory=Counter)
    splits: dict[Split, str] = field(default_factory=dict)


def suggest(
    source: Source, layout: Layout, entries: Mapping[Split, Sequence[Entry]], problems: Sequence[str]
) -> list[str]:
    """Say what was found instead of what was looked for.

    Args:
        source: the root.
        layout: where the files were looked for.
        entries: what was found there.
        problems: lines about folders and pairing that this led to.

    Returns:
        One line that names what to say in dataset.yaml where that mends it, else the problems and what was found.
    """
    if any(entry.paired for found in entries.values() for entry in found) and "{split}" not in layout.images:
        # Images and masks pair, so the folders are right unless the splits are folders in them.
        if not (line := _other_folders(source, layout, nested=True)):
            return list(problems)
        return [line]
    if line := _suffix(source, layout, entries):
        return [line]
    missing = [folder for split in SPLITS for folder in (layout.image_folder(split), layout.mask_folder(split))
               if not source.is_folder(folder)]  # fmt: skip
    if missing and (line := _other_folders(source, layout)):
        return [line]
    others = _other_extensions(source, layout)
    told = [line for line in problems if not any(f"add {folder}/" in line for folder in others)]
    return [*told, *others.values(), *_root_holds(source, missing)]


def _other_folders(source: Source, layout: Layout, nested: bool = False) -> str:
    """A line that says which folders hold images and masks, if that can be told by their names."""
    kinds = _kinds(source)
    images = _largest(kinds, _IMAGE_WORDS, _MASK_WORDS)
    masks = _largest(kinds, _MASK_WORDS, None)
    if not images or not masks or ("{split}" in images) != ("{split}" in masks) or (nested and "{split}" not in images):
        return ""
    splits = kinds[images].splits
    if "{split}" in images and set(splits) == {"train"}:
        only = [one.replace("{split}", splits["train"]) for one in (images, masks)]
        told = f"`images: {_quoted(only[0])}`, `masks: {_quoted(only[1])}` and `val: 0.2`"
        return (
            f"{source.uri}: there are no images to validate on, only {only[0]} ({_files(kinds[images])}); add a folder "
            f"{images.replace('{split}', 'val')} with its masks, or say {told} in {FILE_NAME}"
        )
    lines = {"images": images, "masks": masks}
    if "{split}" in images and (named := {split: splits.get(split, split) for split in SPLITS}) != {
        split: split for split in SPLITS
    }:
        lines["splits"] = f"{{train: {named['train']}, val: {named['val']}}}"
    now = {"images": layout.images, "masks": layout.masks, "splits": f"{{train: {layout.train}, val: {layout.val}}}"}
    quoted = {key: value if key == "splits" else _quoted(value) for key, value in lines.items()}
    new = [f"`{key}: {quoted[key]}`" for key, value in lines.items() if now[key] != value]
    if not new:
        return ""
    looked_for = f"{layout.image_folder('train')} and {layout.mask_folder('train')}"
    return (
        f"{source.uri}: files are looked for in {looked_for}, but there are {images} ({_files(kinds[images])}) and "
        f"{masks} ({_files(kinds[masks])}); say {', '.join(new)} in {FILE_NAME}"
    )


def _kinds(source: Source) -> dict[str, _Kind]:
    kinds: dict[str, _Kind] = defaultdict(_Kind)
    for path in source.walk()[0]:
        folder, _, file = path.rpartition("/")
        extension = os.path.splitext(file)[1].lower()
        if not folder or of_system(path) or extension not in IMAGE_EXTENSIONS:
            continue
        pattern, split = _pattern(folder.split("/"))
        kinds[pattern].files[extension] += 1
        if split is not None:
            kinds[pattern].splits.setdefault(*split)
    return kinds


def _pattern(parts: Sequence[str]) -> tuple[str, tuple[Split, str] | None]:
    """A folder with {split} for its split and without what lies below the folder of a kind; and its split's name."""
    split: tuple[Split, str] | None = None
    pattern: list[str] = []
    end = 0
    for part in parts:
        role = next((split for split, names in _SPLITS.items() if part.lower() in names), None)
        pattern.append("{split}" if role and split is None else part)
        if role and split is None:
            split = role, part
        if role or _MASK_WORDS.search(part) or _IMAGE_WORDS.search(part):
            end = len(pattern)
    return "/".join(pattern[: end or 1]), split


def _largest(kinds: Mapping[str, _Kind], wanted: re.Pattern[str], other: re.Pattern[str] | None) -> str:
    """The folders whose names are of a kind, that hold the most files."""
    found = [pattern for pattern in kinds
             if any(wanted.search(part) and not (other and other.search(part)) for part in pattern.split("/"))
             and not (other and any(other.search(part) for part in pattern.split("/")))]  # fmt: skip
    return max(sorted(found), key=lambda pattern: kinds[pattern].files.total(), default="")


def _files(kind: _Kind) -> str:
    names = "".join(f", *{extension}" for extension in sorted(kind.files))
    return f"{kind.files.total()} files{names}"


def _suffix(source: Source, layout: Layout, entries: Mapping[Split, Sequence[Entry]]) -> str:
    """A line that names what the names of all masks, or of all images, end with beyond those of the others."""
    both = [entry for found in entries.values() for entry in found]
    images = {entry.name for entry in both if entry.mask is None}
    masks = {entry.name for entry in both if entry.image is None}
    if not images or not masks or len(images) + len(masks) < len(both):
        return ""
    for key, longer, shorter in (("mask_suffix", masks, images), ("image_suffix", images, masks)):
        first = min(longer)
        rest = {first.removeprefix(name) for name in shorter if first.startswith(name)}
        for suffix in sorted(rest, key=len):
            if all(name.endswith(suffix) for name in longer) and {n.removesuffix(suffix) for n in longer} == shorter:
                example, kind = sorted(shorter)[0], key.partition("_")[0]
                whole = suffix + getattr(layout, key)
                return (
                    f"{source.uri_of(FILE_NAME)}: the names of the {kind}s end with {suffix!r} ({example} and "
                    f"{example}{suffix}); say `{key}: {_quoted(whole)}` in {FILE_NAME}"
                )
    return ""


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_][\w./{}-]*", text) else f'"{text}"'


def _root_holds(source: Source, missing: Iterable[str]) -> list[str]:
    """What lies at the root, where a folder is missing."""
    if not list(missing):
        return []
    paths, _ = source.walk()
    top = sorted({path.partition("/")[0] + "/" * ("/" in path) for path in paths if not of_system(path)})
    told = ", ".join(top[:_TOLD]) + (f" and {len(top) - _TOLD} more" if len(top) > _TOLD else "")
    return [f"{source.uri}: holds {told or 'no files'}; say where files lie by `images:` and `masks:` in {FILE_NAME}"]


def _other_extensions(source: Source, layout: Layout) -> dict[str, str]:
    """By folder, a line for each that holds files, none of which is read."""
    lines = {}
    for kind, folders, known in (
        ("images", [layout.image_folder(split) for split in SPLITS], layout.image_extensions),
        ("masks", [layout.mask_folder(split) for split in SPLITS], layout.mask_extensions),
    ):
        for folder in dict.fromkeys(folders):
            found = Counter(os.path.splitext(path)[1].lower() for path in source.walk(folder)[0] if not of_system(path))
            if found and not any(extension in known for extension in found):
                there = ", ".join(f"{count} *{extension}" for extension, count in sorted(found.items()))
                uri = source.uri_of(folder)
                lines[uri] = (
                    f"{uri}: holds {there}, but {kind} are read from {', '.join(known)}; save them as PNG"
                    + " (JPEG has changed ids and colours)" * (kind == "masks" and any(one in found for one in JPEG))
                )
    return lines
