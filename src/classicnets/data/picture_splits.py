"""Which pictures train, validate and test: by seed, content or number, or as the chapter did."""

import random
import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from classicnets.errors import ConfigError, DataError

from .picture_files import PictureFiles
from .streams import permutation

PARTS = ("train", "val", "test")
FRACTIONS = (0.8, 0.1, 0.1)
_CHAPTER = (400, 10)  # the first so many train, the last so many test, the rest validates

Split = str | Sequence[float] | Mapping[str, Sequence[int]]


def check_split(split: Any) -> None:
    """Raise ConfigError for what `split_rows` cannot split by."""
    if isinstance(split, Mapping):
        _ranges(split)
    elif split not in ("hash", "textbook") if isinstance(split, str) else not _are_fractions(split):
        raise ConfigError(
            f"split is {split!r}; give three fractions that add up to 1, 'hash', 'textbook', or "
            "the numbers of each part, such as {'train': (1, 800), 'val': (801, 900), "
            "'test': (901, 1000)}"
        )


def split_rows(
    files: PictureFiles, digests: Sequence[bytes], split: Split, seed: int
) -> dict[str, Tensor]:
    """The positions of the pictures of each part, int64, ascending.

    Args:
        files: the pictures.
        digests: SHA-256 of each one's content.
        split: three fractions, for a draw within each class by the seed; "hash", for the same
            fractions decided by each file's content alone, so that a picture never changes its
            part whatever is added, and copies stay together; "textbook", for the first 400 to
            train, the last 10 to test and the others to validate, after `random.seed(42)` has
            shuffled the sorted paths; or for each part the first and the last number, numbers
            being the last ones in the files' names.
        seed: for fractions.

    Raises:
        ConfigError: a split that is none of these.
        DataError: a part without pictures that should have some.
    """
    check_split(split)
    parts: Sequence[str | None]
    if split == "hash":
        parts = list(map(_by_content, digests))
    elif split == "textbook":
        parts = _textbook(len(files))
    elif isinstance(split, Mapping):
        parts = _by_number(files.names, split)
    else:
        fractions = [float(part) for part in split]
        parts = _by_seed(files.labels, len(files.classes), fractions, seed)
    rows = {part: [row for row, own in enumerate(parts) if own == part] for part in PARTS}
    for part in ("train", "test"):
        if not rows[part]:
            raise DataError(
                f"split {split!r} of {len(files)} pictures leaves none to {part}; add pictures or "
                "split otherwise"
            )
    return {part: torch.tensor(rows[part], dtype=torch.int64) for part in PARTS}


def split_to_json(split: Split) -> Any:
    """The split as it comes back from JSON."""
    if isinstance(split, Mapping):
        return {part: list(numbers) for part, numbers in split.items()}
    return split if isinstance(split, str) else list(split)


def _are_fractions(split: Any) -> bool:
    return (
        isinstance(split, Sequence)
        and len(split) == 3
        and all(isinstance(part, int | float) and part >= 0 for part in split)
        and abs(sum(split) - 1) < 1e-9
    )


def _by_seed(
    labels: Sequence[int], num_classes: int, fractions: Sequence[float], seed: int
) -> list[str]:
    parts = ["train"] * len(labels)
    for label in range(num_classes):
        rows = [row for row, own in enumerate(labels) if own == label]
        shuffled = [rows[k] for k in permutation(len(rows), seed, 0, f"split {label}").tolist()]
        val, test = (round(len(rows) * fraction) for fraction in fractions[1:])
        for row in shuffled[:val]:
            parts[row] = "val"
        for row in shuffled[val : val + test]:
            parts[row] = "test"
    return parts


def _by_content(digest: bytes) -> str:
    position = int.from_bytes(digest[:8]) / 2**64
    if position < FRACTIONS[0]:
        return "train"
    return "val" if position < FRACTIONS[0] + FRACTIONS[1] else "test"


def _textbook(count: int) -> list[str]:
    train, test = _CHAPTER
    if count <= train + test:
        raise DataError(
            f"split is 'textbook', which takes {train} pictures to train and {test} to test and "
            f"validates with the others; there are {count}, give the chapter's 502"
        )
    if count != 502:
        warnings.warn(
            f"split is 'textbook', and there are {count} pictures; of others than the chapter's "
            "502 it makes other parts",
            UserWarning,
            stacklevel=5,
        )
    order = list(range(count))
    random.Random(42).shuffle(order)  # noqa: S311
    parts = ["val"] * count
    for row in order[:train]:
        parts[row] = "train"
    for row in order[-test:]:
        parts[row] = "test"
    return parts


def _by_number(names: Sequence[str], split: Mapping[str, Sequence[int]]) -> list[str | None]:
    ranges = _ranges(split)
    numbers = [re.findall(r"[0-9]+", name.rpartition("/")[2]) for name in names]
    return [
        next((part for part in ranges if found and int(found[-1]) in ranges[part]), None)
        for found in numbers
    ]


def _ranges(split: Mapping[str, Sequence[int]]) -> dict[str, range]:
    """The numbers of each part; ConfigError where they are none or overlap."""
    pairs = {part: list(ends) if isinstance(ends, Sequence) else [] for part, ends in split.items()}
    whole = all(
        len(ends) == 2 and all(type(end) is int for end in ends) and ends[0] <= ends[1]
        for ends in pairs.values()
    )
    in_order = sorted(pairs.values()) if whole else []
    overlap = any(after[0] <= before[1] for before, after in pairwise(in_order))
    if not whole or overlap or not set(split) <= set(PARTS):
        raise ConfigError(
            f"split is {split!r}; its parts are {', '.join(PARTS)}, each with a first and a last "
            "number that lie in no other part"
        )
    return {part: range(first, last + 1) for part, (first, last) in pairs.items()}
