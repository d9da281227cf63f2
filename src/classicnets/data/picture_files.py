"""Which files of a folder are pictures, of which class, and what their headers and contents say.

Rules: a class is a folder, its name the class's; classes and files are sorted by code point. Only
JPEG, PNG, WebP, BMP and GIF are pictures, told by the ending of the name. Whatever begins with a
dot, and what systems leave behind (`Thumbs.db`, `__MACOSX`), is passed over, as are files beside
the class folders. Links are followed, each folder entered once, and none that leads back up.
"""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from classicnets.errors import DataError
from classicnets.pictures import picture_size

ENDINGS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
}
AT_ONCE = 8  # files that a thread reads before it hands over what it found
_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing", "test1", "dev"}
_LEFT_BEHIND = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin")

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class PictureFiles:
    """The pictures of a folder: their names and classes, in the order of the names.

    Attributes:
        root: the folder.
        names: of the files, relative to the root, parted by `/`.
        labels: the class of each, a number into `classes`.
        classes: the names of the classes.
    """

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def paths(self) -> list[str]:
        """Where the files lie."""
        root = os.fspath(self.root)
        return [f"{root}/{name}" for name in self.names]

    def choose(self, rows: Sequence[int]) -> "PictureFiles":
        """Those at the given positions; the classes stay."""
        names = tuple(self.names[row] for row in rows)
        return PictureFiles(self.root, names, tuple(self.labels[row] for row in rows), self.classes)

    def check(self) -> None:
        """Raise where a class has no picture."""
        empty = sorted(set(range(len(self.classes))) - set(self.labels))
        if empty:
            raise DataError(
                f"class {self.classes[empty[0]]!r} of {str(self.root)!r} has no pictures; put some "
                f"there or remove it (pictures end in {', '.join(ENDINGS)})"
            )


def list_folders(root: str | os.PathLike[str]) -> PictureFiles:
    """The pictures below `root`, one folder a class, which may be empty.

    Raises:
        DataError: no such folder; fewer than two classes; two whose names differ in case alone;
            parts of a set in the place of classes; a folder that cannot be read.
    """
    root = Path(root)
    with _scan(root) as entries:
        classes = sorted(
            entry.name for entry in entries if _is_folder(entry) and _counts(entry.name)
        )
    if len(classes) < 2:
        found = f"1 folder, {classes[0]!r}" if classes else "no folder"
        raise DataError(
            f"{str(root)!r} has {found}; image_folder needs a folder for each class, at least 2 "
            "(cats_vs_dogs also takes files named cat.0.jpg, dog.0.jpg, ...)"
        )
    check_case(classes, root)
    if {name.casefold() for name in classes} <= _PARTS:
        raise DataError(
            f"{str(root)!r} has the folders {', '.join(classes)}: parts, not classes; give one of "
            "them, or join the folders of each class, for the parts are made here"
        )
    listed = [
        (name, label) for label, folder in enumerate(classes) for name in pictures(root, folder)
    ]
    return picture_files(root, listed, tuple(classes))


def picture_files(
    root: Path, listed: Iterable[tuple[str, int]], classes: tuple[str, ...]
) -> PictureFiles:
    """From pairs of a name and a label, in any order."""
    pairs = sorted(listed)
    names = tuple(name for name, _ in pairs)
    return PictureFiles(root, names, tuple(label for _, label in pairs), classes)


def pictures(root: Path, folder: str = "") -> Iterator[str]:
    """The names of the pictures in a folder of `root` and in the folders below it."""
    for name, entry in walk(root, folder):
        if is_picture(entry):
            yield name


def is_picture(entry: "os.DirEntry[str]") -> bool:
    """Whether a file is taken for a picture: by its ending, and being no pipe or broken link."""
    try:
        return entry.name.lower().endswith(tuple(ENDINGS)) and entry.is_file()
    except OSError as error:
        return error.errno != errno.ELOOP  # what else hinders is told where the file is read


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return False
        raise DataError(f"{entry.path!r} cannot be read: {error.strerror}") from error


def walk(root: Path, folder: str = "") -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """All that is no folder in a folder of `root` and in those below it, and is not passed over."""
    pending, entered = [folder], {_identity(root)} if folder else set()
    while pending:
        inside = pending.pop()
        place = root / inside
        with _scan(place) as entries:
            if (identity := _identity(place)) in entered:  # a link back up
                continue
            entered.add(identity)
            for entry in entries:
                name = f"{inside}/{entry.name}" if inside else entry.name
                if not _counts(entry.name):
                    continue
                if _is_folder(entry):
                    pending.append(name)
                else:
                    yield name, entry


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def check_case(names: Iterable[str], root: Path) -> None:
    """Raise for two names that some systems cannot tell apart."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"{str(root)!r} has the classes {other!r} and {name!r}, which differ in case "
                "alone; rename or join them"
            )


def digest(path: str) -> bytes:
    """SHA-256 of a file's bytes; DataError for one that cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DataError(f"{path!r} cannot be read: {error.strerror}") from error


def survey(path: str) -> bytes:
    """SHA-256 of a file's bytes, its header looked at; nothing is decoded.

    Raises:
        DataError: a file that cannot be read, or whose header shows that it cannot be used.
    """
    found = digest(path)
    picture_size(path)
    return found


def in_threads(
    function: Callable[[_In], _Out], items: Iterable[_In], num_workers: int, at_once: int = 1
) -> Iterator[_Out]:
    """Like `map`, by so many threads, their results in order and few of them waiting at a time.

    A thread takes `at_once` items. Work of less than a millisecond needs several: to pass one to
    another thread and to wake it costs a tenth of that, and stops the others meanwhile.
    """
    if not num_workers:
        yield from map(function, items)
        return

    def work(part: list[_In]) -> list[_Out]:
        return [function(item) for item in part]

    waiting: deque[Future[list[_Out]]] = deque()
    left = iter(items)
    with ThreadPoolExecutor(num_workers, thread_name_prefix="classicnets") as threads:
        try:
            while part := list(islice(left, at_once)):
                waiting.append(threads.submit(work, part))
                if len(waiting) > num_workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)


def or_error(function: Callable[[_In], _Out]) -> Callable[[_In], _Out | DataError]:
    """The function, with its DataErrors returned instead of raised."""

    def attempt(item: _In) -> _Out | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    return attempt


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _LEFT_BEHIND


def _scan(folder: Path) -> Any:
    try:
        return os.scandir(folder)
    except FileNotFoundError as error:
        raise DataError(f"there is no folder {str(folder)!r}; check the path") from error
    except OSError as error:
        raise DataError(f"the folder {str(folder)!r} cannot be read: {error.strerror}") from error
