"""What is wrong with a folder of pictures: found before training, named file by file.

Nothing is changed or deleted; what should take no part can be written to a list that the loaders
read.
"""

import json
import os
import secrets
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from classicnets.errors import DataError, StorageError
from classicnets.pictures import is_moving, read_pixels

from .cats_vs_dogs_set import list_any_folder
from .near_duplicates import fingerprint, near_duplicates
from .picture_files import (
    AT_ONCE,
    ENDINGS,
    PictureFiles,
    in_threads,
    is_picture,
    survey,
    walk,
)
from .picture_set import EXCLUSIONS, read_exclusions
from .picture_splits import FRACTIONS, Split, check_split, split_rows
from .reading_bar import reading_bar

_SMALL_SIDE = 32  # pixels
_SMALL_FILE = 200  # bytes

# what breaks training or poisons it; other kinds are only told
_EXCLUDED = (
    "empty",
    "unreadable",
    "not a picture",
    "too large",
    "damaged",
    "exact duplicate",
    "near duplicate",
)


@dataclass(frozen=True)
class Fault:
    """Something about one file or class.

    Attributes:
        name: of the file, relative to the folder, or of the class.
        kind: "empty", "unreadable", "not a picture", "too large", "damaged", "exact duplicate",
            "near duplicate": should take no part; "empty class": stops training, maybe once those
            take no part; "mirror image", of another class, "passed over", "small", "one colour",
            "moving", "mode", "wrong ending": for you to judge.
        detail: what exactly, in words.
        crosses: whether it is the duplicate of a picture in another part of the split.
    """

    name: str
    kind: str
    detail: str
    crosses: bool = False


@dataclass(frozen=True)
class Report:
    """What `doctor` found.

    Attributes:
        root: the folder.
        classes: the number of files of each class, excluded ones apart.
        faults: sorted by kind, the gravest first, then those across parts, then by name.
        excluded: how many files the folder's `exclude.json` names already.
    """

    root: Path
    classes: dict[str, int]
    faults: tuple[Fault, ...]
    excluded: int

    @property
    def exclusions(self) -> dict[str, str]:
        """The files that should take no part, and why."""
        found = [fault for fault in self.faults if fault.kind in _EXCLUDED]
        return {fault.name: f"{fault.kind}: {fault.detail}" for fault in reversed(found)}

    def write_exclusions(self) -> Path:
        """Add the exclusions to `exclude.json` in the folder, which the loaders read.

        Raises:
            StorageError: the file cannot be written.
        """
        path = self.root / EXCLUSIONS
        names = {**read_exclusions(self.root), **self.exclusions}
        aside = path.with_name(f".{EXCLUSIONS}.{secrets.token_hex(8)}.tmp")
        try:
            aside.write_text(json.dumps(names, indent=1, sort_keys=True) + "\n", "utf-8")
            aside.replace(path)
        except OSError as error:
            raise StorageError(
                f"cannot write {str(path)!r}: {error.strerror}; the same list is Report.exclusions"
            ) from error
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        return path

    def to_dict(self) -> dict[str, Any]:
        """The report, ready for JSON."""
        return {
            "root": str(self.root),
            "classes": self.classes,
            "excluded": self.excluded,
            "faults": [vars(fault) for fault in self.faults],
        }


@dataclass(frozen=True)
class _Examined:
    """One file: its faults and, if it can be used, what tells it from others."""

    faults: tuple[Fault, ...]
    digest: bytes | None = None
    fingerprint: NDArray[np.float32] | None = None


def doctor(
    root: str | os.PathLike[str],
    *,
    split: Split = FRACTIONS,
    seed: int = 0,
    num_workers: int = 2,
    progress: bool = False,
) -> Report:
    """Look at each file below a folder of pictures for what breaks training or poisons it.

    Every picture is decoded. Exact duplicates are found by content; near ones (resized,
    recompressed, mirrored) by correlation of 24x24 grey levels above 0.985, among pictures with
    sides of 32 pixels and more. Of duplicates the first in the order of names stays; where classes
    differ none does, but for mirror images, which may well differ in class.

    Args:
        root: a folder that `image_folder` or `cats_vs_dogs` takes; classes may be empty here.
        split: as you give it there, to tell which duplicates lie in different parts.
        seed: likewise.
        num_workers: threads that decode.
        progress: whether to show a bar in a terminal meanwhile.

    Raises:
        ConfigError: the split is none.
        DataError: the folder has no such form.

    Example:
        >>> root = getfixture("tmp_path")
        >>> for name, level in (("cats/1.png", 64), ("cats/2.png", 64), ("dogs/1.png", 128)):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     Image.linear_gradient("L").rotate(level).save(root / name)
        >>> report = doctor(root)
        >>> report.exclusions
        {'cats/2.png': 'exact duplicate: the same file as cats/1.png'}
    """
    check_split(split)
    root = Path(root)
    excluded = read_exclusions(root)
    files = list_any_folder(root)
    files = files.choose([row for row, name in enumerate(files.names) if name not in excluded])
    pairs = list(zip(files.names, files.paths, strict=True))
    shown = reading_bar(pairs, "examining") if progress else pairs
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "a picture moves")  # told here by name
        examined = list(in_threads(_examine, shown, num_workers, AT_ONCE))
    faults = [fault for one in examined for fault in one.faults]
    faults.extend(_duplicates(files, examined, split, seed))
    counts = Counter(files.labels)
    classes = {name: counts[label] for label, name in enumerate(files.classes)}
    lost = {fault.name for fault in faults if fault.kind in _EXCLUDED}
    left = Counter(
        label for own, label in zip(files.names, files.labels, strict=True) if own not in lost
    )
    for label, (name, count) in enumerate(classes.items()):
        if not left[label]:
            detail = "all its pictures are to be left out" if count else "it has no pictures"
            faults.append(Fault(name, "empty class", detail))
    faults.extend(_passed_over(root, {*files.names, *excluded, EXCLUSIONS}))
    gravity = {kind: place for place, kind in enumerate(_EXCLUDED)}

    def place(fault: Fault) -> tuple[int, str, bool, str]:
        grave = gravity.get(fault.kind, len(gravity))
        return grave, fault.kind, not fault.crosses, fault.name

    faults.sort(key=place)
    return Report(root, classes, tuple(faults), len(excluded))


def _passed_over(root: Path, known: set[str]) -> Iterator[Fault]:
    for name, entry in walk(root):
        if name in known:
            continue
        if is_picture(entry):
            detail = "it lies beside the class folders"
        elif Path(entry).is_file():  # False for a link to itself
            detail = f"its ending is none of {', '.join(ENDINGS)}"
        else:
            detail = "a broken link" if entry.is_symlink() else "no regular file"
        yield Fault(name, "passed over", detail)


def _examine(item: tuple[str, str]) -> _Examined:
    name, path = item
    try:
        num_bytes = Path(path).stat().st_size
    except OSError as error:
        return _Examined((Fault(name, "unreadable", str(error.strerror)),))
    if not num_bytes:
        return _Examined((Fault(name, "empty", "it has 0 bytes"),))
    try:
        digest = survey(path)
        image = Image.fromarray(read_pixels(path).numpy())
    except DataError as error:
        detail = str(error).removeprefix(f"{path}: ").partition("; give a whole file")[0]
        return _Examined((Fault(name, _kind(error), detail.replace(path, "it")),))
    notes = list(_notes(path, num_bytes))
    prints = fingerprint(image)
    if prints is None:
        notes.append(("one colour", "it shows nothing"))
    if min(image.size) < _SMALL_SIDE:  # so little detail is often alike
        prints = None
    return _Examined(tuple(Fault(name, *note) for note in notes), digest, prints)


def _kind(error: DataError) -> str:
    cause = error.__cause__
    if isinstance(cause, UnidentifiedImageError):
        return "not a picture"
    if isinstance(cause, DataError | Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too large"
    return "unreadable" if isinstance(cause, OSError) and cause.errno else "damaged"


def _notes(path: str, num_bytes: int) -> Iterator[tuple[str, str]]:
    with Image.open(path) as image:
        written = "JPEG" if image.format == "MPO" else str(image.format)
        if ENDINGS[Path(path).suffix.lower()] != written:
            yield "wrong ending", f"it is {written}"
        if image.mode != "RGB":
            yield "mode", f"its pixels are {image.mode}; they become RGB"
        if is_moving(path):
            yield "moving", "only its first frame is used"
        if min(image.size) < _SMALL_SIDE or num_bytes < _SMALL_FILE:
            yield "small", f"{image.width}x{image.height} pixels in {num_bytes} bytes"


def _duplicates(
    files: PictureFiles, examined: Sequence[_Examined], split: Split, seed: int
) -> Iterator[Fault]:
    found = {row: one.digest for row, one in enumerate(examined) if one.digest is not None}
    part = _parts(files.choose(list(found)), list(found.values()), split, seed)

    def fault(row: int, other: int, kind: str, what: str) -> Fault:
        name, of = files.names[row], files.names[other]
        words = f"{what} {of}"
        if files.labels[row] != files.labels[other]:
            words += ", of another class"
        crosses = part.get(name) != part.get(of)
        if crosses:
            words += f"; they lie in {part.get(name)} and {part.get(of)}"
        return Fault(name, kind, words, crosses)

    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in found.items():
        groups[digest].append(row)
    for first, *others in groups.values():
        for row in others:
            yield fault(row, first, "exact duplicate", "the same file as")
        strange = [row for row in others if files.labels[row] != files.labels[first]]
        if strange:
            yield fault(first, strange[0], "exact duplicate", "the same file as")

    firsts = [rows[0] for rows in groups.values() if examined[rows[0]].fingerprint is not None]
    prints = [one for row in firsts if (one := examined[row].fingerprint) is not None]
    told: set[int] = set()
    for earlier, later, mirrored in near_duplicates(prints):
        row, other = firsts[later], firsts[earlier]
        differ = files.labels[row] != files.labels[other]
        if mirrored and differ:
            if not told & {row, other}:
                yield fault(row, other, "mirror image", "it may show the same as")
            continue
        what = "the mirror image of" if mirrored else "shows the same as"
        if row not in told and (differ or other not in told):
            yield fault(row, other, "near duplicate", what)
            told.add(row)
        if differ and other not in told:
            yield fault(other, row, "near duplicate", what)
            told.add(other)


def _parts(
    files: PictureFiles, digests: Sequence[bytes], split: Split, seed: int
) -> dict[str, str]:
    """The part of each file, by name; none where there are too few to split."""
    try:
        parts = split_rows(files, digests, split, seed)
    except DataError:
        return {}
    return {files.names[row]: part for part, rows in parts.items() for row in rows.tolist()}
