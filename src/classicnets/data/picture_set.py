"""From the files of pictures to loaders: read, kept, split, cut."""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch

from classicnets.errors import ConfigError, DataError
from classicnets.preparation import Preparation

from .batch_memory import BatchMemory
from .loader import check_integer
from .picture_cache import CACHES, DecodedAnew, Kept, Pictures, in_memory, on_disk
from .picture_cuts import CentreCut, Cut, make_cut
from .picture_files import AT_ONCE, PictureFiles, in_threads, or_error, survey
from .picture_loader import PictureLoader, find_device
from .picture_splits import Split, check_split, split_rows, split_to_json
from .reading_bar import Shown, reading_bar, unseen
from .splits import Splits

EXCLUSIONS = "exclude.json"

# of ImageNet, in 0..1: what torchvision's nets and the chapter take
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What a user chooses about a set of pictures; checked before any file is read."""

    image_size: int
    resize: int | None
    batch_size: int
    split: Split
    augment: str | None
    num_workers: int
    cache: str
    memory_limit: int
    on_bad: str
    max_skipped: float
    seed: int

    def __post_init__(self) -> None:
        for name, minimum in (
            ("image_size", 1),
            ("batch_size", 1),
            ("num_workers", 0),
            ("memory_limit", 0),
            ("seed", 0),
        ):
            check_integer(name, getattr(self, name), minimum)
        if self.resize is not None and check_integer("resize", self.resize, 1) < self.image_size:
            raise ConfigError(
                f"resize is {self.resize}; squares of image_size {self.image_size} are cut from "
                "pictures whose shorter side it is, so give at least that"
            )
        if self.cache not in CACHES:
            raise ConfigError(f"cache is {self.cache!r}; it is one of {', '.join(CACHES)}")
        if self.on_bad not in ("error", "skip"):
            raise ConfigError(f"on_bad is {self.on_bad!r}; it is 'error' or 'skip'")
        if not isinstance(self.max_skipped, int | float) or not 0 <= self.max_skipped <= 1:
            raise ConfigError(f"max_skipped is {self.max_skipped!r}; it is a part, 0 to 1")
        check_split(self.split)
        make_cut(self.augment, self.image_size, self.side)

    @property
    def side(self) -> int:
        """The shorter side of the pictures that are kept."""
        if self.resize is not None:
            return self.resize
        return 256 if self.image_size == 227 else round(self.image_size * 256 / 224)

    def to_dict(self) -> dict[str, Any]:
        """The options, ready for JSON."""
        return {**vars(self), "split": split_to_json(self.split)}


def make_picture_splits(
    name: str,
    files: PictureFiles,
    options: PictureOptions,
    device: torch.device | str,
    progress: bool,
) -> Splits:
    """Read the files, leave out what cannot be used or shall not be, and make the three loaders."""
    place = find_device(device)
    shown = reading_bar if progress else unseen
    excluded = read_exclusions(files.root)
    files = files.choose([row for row, own in enumerate(files.names) if own not in excluded])
    files.check()
    pictures, found = _read(files, options, shown)
    bad = [one for one in found if isinstance(one, DataError)]
    _refuse(bad, files, options)
    if bad:
        warnings.warn(_skipped(bad, files), stacklevel=3)
    files = files.choose([row for row, one in enumerate(found) if isinstance(one, _Read)])
    files.check()
    good = [one for one in found if isinstance(one, _Read)]
    digests = [one.digest for one in good]
    positions = torch.tensor([one.position for one in good])

    preparation = Preparation(
        options.image_size, channels=3, mean=_MEAN, std=_STD, shorter_side=options.side
    )
    labels = torch.tensor(files.labels)
    parts = split_rows(files, digests, options.split, options.seed)
    size = options.image_size
    memory = BatchMemory((min(options.batch_size, len(files)), 3, size, size))

    def loader(part: str, cut: Cut, *, training: bool = False) -> PictureLoader:
        rows = parts[part]
        return PictureLoader(
            pictures,
            positions[rows],
            labels[rows],
            classes=files.classes,
            preparation=preparation,
            cut=cut,
            batch_size=options.batch_size,
            shuffle=training,
            seed=options.seed,
            num_workers=options.num_workers,
            memory=memory,
            identity={
                "name": f"{name}/{part}",
                "files": _identity(files, digests, rows.tolist()),
            },
        ).to(place)

    middle = CentreCut(options.image_size)
    training_cut = make_cut(options.augment, options.image_size, options.side)
    return Splits(
        train=loader("train", training_cut, training=True),
        val=loader("val", middle) if len(parts["val"]) else None,
        test=loader("test", middle),
        classes=files.classes,
        preparation=preparation,
        options=options.to_dict(),
    )


def read_exclusions(root: Path) -> Mapping[str, str]:
    """The files that take no part and why, from `root/exclude.json`; none where it is missing."""
    path = root / EXCLUSIONS
    if not path.exists():
        return {}
    try:
        exclusions = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}; remove it") from error
    if not isinstance(exclusions, dict):
        raise DataError(f"{str(path)!r} is no JSON object of names and reasons; remove it")
    return exclusions


@dataclass(frozen=True)
class _Read:
    """A file that can be used: SHA-256 of its bytes, and where its picture is among all."""

    digest: bytes
    position: int


def _read(
    files: PictureFiles, options: PictureOptions, shown: Shown
) -> tuple[Pictures, list[_Read | DataError]]:
    """The pictures, kept as the options say, and each file's place or what is wrong with it."""
    side, workers, paths = options.side, options.num_workers, files.paths
    if options.cache in ("auto", "memory"):
        limit = options.memory_limit if options.cache == "auto" else math.inf
        kept = in_memory(paths, side, workers, limit, shown)
        if kept is not None:
            pixels = [one.pixels for one in kept if isinstance(one, Kept)]
            return pixels, _placed(
                [one if isinstance(one, DataError) else one.digest for one in kept]
            )

    surveys = list(in_threads(or_error(survey), shown(paths, "reading"), workers, AT_ONCE))
    found = _placed(surveys)
    good = [row for row, one in enumerate(found) if isinstance(one, _Read)]
    paths = [paths[row] for row in good]
    pictures: Pictures = DecodedAnew(paths, side)
    errors: dict[int, DataError] = {}
    if len(good) < len(found) and options.on_bad == "error":
        return pictures, found
    if options.cache != "none":
        digests = [one.digest for one in found if isinstance(one, _Read)]
        pictures, errors = on_disk(files.root, paths, digests, side, workers, shown)
    elif options.on_bad == "skip":  # else it is said when the file's turn comes
        rows = shown(range(len(paths)), "decoding")
        tried = in_threads(or_error(pictures.__getitem__), rows, workers, AT_ONCE)
        errors = {row: one for row, one in enumerate(tried) if isinstance(one, DataError)}
    for position, error in errors.items():
        found[good[position]] = error
    return pictures, found


def _placed(digests: Sequence[bytes | DataError]) -> list[_Read | DataError]:
    """The digests with positions, which the files that cannot be used do not take."""
    positions = count()
    return [one if isinstance(one, DataError) else _Read(one, next(positions)) for one in digests]


def _refuse(bad: Sequence[DataError], files: PictureFiles, options: PictureOptions) -> None:
    """Raise for bad ones among the files, where they are not to be skipped or are too many."""
    if options.on_bad == "skip" and len(bad) > max(1, options.max_skipped * len(files)):
        raise DataError(
            f"{len(bad)} of {len(files)} files of {str(files.root)!r} cannot be used, the first "
            f"because {bad[0]}; more than max_skipped={options.max_skipped:g} of them are not "
            "skipped: give a larger part, or leave them out by doctor"
        )
    if bad and options.on_bad == "error":
        more = f"; of the others {len(bad) - 1} cannot be used either" if len(bad) > 1 else ""
        raise DataError(
            f"{bad[0]}{more}. `classicnets doctor {files.root}` finds all such files, with --fix "
            "leaves them out, as on_bad='skip' does here"
        )


def _skipped(bad: Sequence[DataError], files: PictureFiles) -> str:
    reasons = "".join(f"\n  {error}" for error in bad)
    return f"{len(bad)} files of {str(files.root)!r} cannot be used and are skipped:{reasons}"


def _identity(files: PictureFiles, digests: Sequence[bytes], rows: Sequence[int]) -> str:
    """SHA-256 of the names, labels and contents of the files of one part."""
    identity = hashlib.sha256()
    for row in rows:
        name = os.fsencode(files.names[row])
        identity.update(b"%d %d %s %s" % (files.labels[row], len(name), name, digests[row]))
    return identity.hexdigest()
