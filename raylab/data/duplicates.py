"""Images that lie in a data set more than once, byte for byte.

They are told apart by the size of their files first, then by their hashes, which the fingerprint needs too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, Protocol, TypeVar

from raylab.data.base import Split
from raylab.data.fingerprint import FileDigests
from raylab.data.layout import SPLITS, Entry

Meant = Literal["within", "across"]
"""What dataset.yaml says of images that lie there more than once: they are meant within a split, or across both too."""
_T = TypeVar("_T")


class Stored(Protocol):
    """What is asked of a data set (`raylab.data.FileDataset`)."""

    @property
    def threads(self) -> int:
        """That files are read in."""
        ...

    def paths(self, split: Split) -> list[tuple[str, str]]:
        """Paths of each image's file and its mask's."""
        ...

    def size_in_bytes(self, path: str) -> int | None:
        """Of a file; None where that costs as much as its hash."""
        ...

    def digest(self, path: str, digests: FileDigests) -> bytes:
        """SHA-256 that tells a file's content."""
        ...

    def entries(self, split: Split) -> tuple[Entry, ...]:
        """All entries of a split."""
        ...


class Copy(NamedTuple):
    """One of several images with the same bytes."""

    split: Split
    image: str
    mask: str


def about_copies(dataset: Stored, digests: FileDigests, meant: Meant | None, answers: str) -> Iterator[str]:
    """Questions about images that lie in a data set more than once, and about an answer that is not so.

    Args:
        dataset: to look at.
        digests: of files, where some are known already.
        meant: the answer.
        answers: name of the file that gives it, empty where there is none.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    groups = find_copies(dataset, digests)
    across = [group for group in groups if len({copy.split for copy in group}) > 1]
    if across and meant != "across":
        number = sum(copy.split == "val" for group in across for copy in group)
        yield (
            f"images of val are in train too, byte for byte: {number} "
            f"({_example(dataset, digests, across[0])}), so that mIoU would be measured on what was trained on; remove "
            f"them from one split{_or_say('across', answers)}"
        )
    if not across and meant == "across":
        yield "duplicates: across, but no image is in train and val; take it out"
    within = 0
    for split in SPLITS:
        copies = [found for group in groups if len(found := [copy for copy in group if copy.split == split]) > 1]
        within += len(copies)
        if copies and meant is None:
            number = sum(map(len, copies)) - len(copies)
            yield (
                f"images are in {split} more than once, byte for byte: {number} too many "
                f"({_example(dataset, digests, copies[0])}); remove the copies{_or_say('within', answers)}"
            )
    if not within and meant == "within":
        yield "duplicates: within, but no image is twice in a split; take it out"


def _example(dataset: Stored, digests: FileDigests, group: Sequence[Copy]) -> str:
    first, second = group[0], group[-1]
    alike = first.mask == second.mask or dataset.digest(first.mask, digests) == dataset.digest(second.mask, digests)
    return f"{second.image} is {first.image}{'' if alike else ', with another mask'}"


def _or_say(answer: Meant, answers: str) -> str:
    return f", or say `duplicates: {answer}` in {answers} if that is meant" if answers else ""


def in_both_splits(dataset: Stored) -> list[str]:
    """Names that images of both splits have, where names tell of more than a number."""
    names = {
        split: {entry.name.rpartition("@")[0] if entry.window else entry.name for entry in dataset.entries(split)}
        for split in SPLITS
    }
    every = names["train"] | names["val"]
    counted = len({re.sub(r"\d+", "", name) for name in every}) <= 1
    return [] if counted else sorted(names["train"] & names["val"])


def find_copies(dataset: Stored, digests: FileDigests) -> list[list[Copy]]:
    """Images that lie in a data set more than once.

    Args:
        dataset: to look at.
        digests: of files, where some are known already.

    Returns:
        For each content that several images have, these, training images first.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    images = [Copy(split, *paths) for split in SPLITS for paths in dataset.paths(split)]
    with ThreadPoolExecutor(dataset.threads) as pool:

        def alike(images: Sequence[Copy], key: Callable[[Copy], Hashable]) -> list[Copy]:
            return [copy for group in _grouped(images, pool.map(key, images)) for copy in group]

        suspects = alike(images, lambda copy: dataset.size_in_bytes(copy.image))
        return _grouped(suspects, pool.map(lambda copy: dataset.digest(copy.image, digests), suspects))


def _grouped(items: Sequence[_T], keys: Iterator[Hashable]) -> list[list[_T]]:
    """Items by key, without those that are alone."""
    groups: dict[Hashable, list[_T]] = defaultdict(list)
    for item, key in zip(items, keys, strict=True):
        groups[key].append(item)
    return [group for group in groups.values() if len(group) > 1]
