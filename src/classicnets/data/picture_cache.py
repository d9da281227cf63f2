"""Pictures decoded once and kept as uint8: in memory, or in a file mapped into memory.

The file lies beside the folder of the pictures, bears in its name the SHA-256 of all that its
content depends on, and is written aside and renamed when whole: a kill at any moment leaves the
old state or the new, and a changed picture has another name. Its form: the pixels of each picture,
a table int64 (N, 3) of offset, height, width (zeros where a file cannot be decoded), then N, the
SHA-256 of the table, and a magic number.
"""

import hashlib
import math
import os
import secrets
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classicnets.errors import DataError, StorageError
from classicnets.pictures import read_pixels, resize_shorter_side

from .picture_files import AT_ONCE, digest, in_threads, or_error
from .reading_bar import Shown, unseen

CACHES = ("auto", "memory", "disk", "none")
_MAGIC = b"CNpics01"
_TAIL = struct.Struct("<q32s8s")
_SLAB = 2**25  # bytes
_STALE_SECONDS = 3600  # a file aside to which nobody has written for so long has lost its writer


class Pictures(Protocol):
    """Any number of pictures, each uint8 (height, width, 3) and not to be written to."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int, /) -> Tensor:
        """One of them."""


class DecodedAnew:
    """Pictures that are read from their files each time."""

    def __init__(self, paths: Sequence[str], size: int) -> None:
        self._paths = paths
        self._size = size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return _decode(self._size, self._paths[index])


class MappedPictures:
    """Pictures in a cache file, of which the system holds in memory what it has room for."""

    def __init__(self, path: Path, table: NDArray[np.int64]) -> None:
        self._pixels = np.memmap(path, np.uint8, "c")  # torch wants what may be written to
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Tensor:
        offset, height, width = map(int, self.table[index])
        pixels = self._pixels[offset : offset + 3 * height * width]
        return torch.from_numpy(pixels).view(height, width, 3)


@dataclass(frozen=True)
class Kept:
    """A picture in memory.

    Attributes:
        digest: SHA-256 of its file's bytes.
        pixels: uint8 (height, width, 3).
    """

    digest: bytes
    pixels: Tensor


def in_memory(
    paths: Sequence[str],
    size: int,
    num_workers: int,
    limit: float = math.inf,
    shown: Shown = unseen,
) -> list[Kept | DataError] | None:
    """The pictures decoded, or what is wrong with them; None for more than `limit` bytes.

    Each file is read and decoded by one thread in one go, which takes a sixth less time than to
    read all of them first.
    """
    slabs, found = _Slabs(), list[Kept | DataError]()
    least = 3 * size * size  # bytes of a picture
    needed = least * len(paths)  # at least, as far as is known

    def keep(path: str) -> Kept:
        return Kept(digest(path), slabs.hold(_decode(size, path)))

    if needed > limit:
        return None
    for one in in_threads(or_error(keep), shown(paths, "decoding"), num_workers, AT_ONCE):
        found.append(one)
        needed += (one.pixels.numel() if isinstance(one, Kept) else 0) - least
        if needed > limit:
            return None
    return found


def on_disk(
    root: Path,
    paths: Sequence[str],
    digests: Iterable[bytes],
    size: int,
    num_workers: int,
    shown: Shown = unseen,
) -> tuple[Pictures, dict[int, DataError]]:
    """The pictures in the cache file beside `root`, which is first written if need be.

    Also what is wrong with those that cannot be decoded, by position.

    Raises:
        StorageError: the file cannot be written.
    """
    versions = [version(name) for name in ("pillow", "torch", "torchvision")]
    key = hashlib.sha256(f"{_MAGIC!r} {size} {versions}".encode())
    for content in digests:
        key.update(content)
    root = root.resolve()
    stem = f".{root.name}-{size}-"
    path = root.parent / f"{stem}{key.hexdigest()[:32]}.pixels"
    if not path.exists() or _table(path) is None:
        watched = shown(paths, "decoding")
        pictures = in_threads(or_error(partial(_decode, size)), watched, num_workers, AT_ONCE)
        try:
            _write(path, pictures)
            _remove_others(path, stem)
        except OSError as error:
            raise StorageError(
                f"cannot write the cache {str(path)!r}: {error.strerror}; give cache='memory', "
                "cache='none', or make room"
            ) from error
    table = _table(path)
    if table is None:
        raise StorageError(f"the cache {str(path)!r} is not what was written; look to the disk")
    decode = or_error(partial(_decode, size))
    found = {row: decode(paths[row]) for row in np.flatnonzero(table[:, 1] == 0).tolist()}
    errors = {row: error for row, error in found.items() if isinstance(error, DataError)}
    return MappedPictures(path, table), errors


class _Slabs:
    """Memory in large pieces, which costs half the time that as many small ones do."""

    def __init__(self) -> None:
        self._left = torch.empty(0, dtype=torch.uint8)
        self._lock = Lock()

    def hold(self, picture: Tensor) -> Tensor:
        """A copy of a picture."""
        count = picture.numel()
        with self._lock:
            if count > len(self._left):
                self._left = torch.from_numpy(np.empty(max(count, _SLAB), np.uint8))
            place, self._left = self._left[:count], self._left[count:]
        place.numpy()[:] = picture.numpy().ravel()
        return place.view(picture.shape)


def _decode(size: int, path: str) -> Tensor:
    """A picture with its shorter side of `size` pixels, uint8 (height, width, 3)."""
    try:
        return resize_shorter_side(read_pixels(path), size)
    except DataError as error:
        raise error if path in str(error) else DataError(f"{path}: {error}") from error


def _write(path: Path, pictures: Iterable[Tensor | DataError]) -> None:
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    rows = []
    try:
        with aside.open("xb") as file:
            for picture in pictures:
                if isinstance(picture, DataError):
                    rows.append((0, 0, 0))
                else:
                    rows.append((file.tell(), *picture.shape[:2]))
                    file.write(picture.numpy().data)
            table = np.array(rows, "<i8").tobytes()
            file.write(table)
            file.write(_TAIL.pack(len(rows), hashlib.sha256(table).digest(), _MAGIC))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _table(path: Path) -> NDArray[np.int64] | None:
    """The table of a cache file; None where the file is not whole."""
    with suppress(OSError, struct.error), path.open("rb") as file:
        end = file.seek(-_TAIL.size, os.SEEK_END)
        count, expected, magic = _TAIL.unpack(file.read())
        if magic == _MAGIC and 0 < 24 * count <= end:
            file.seek(end - 24 * count)
            table = file.read(24 * count)
            if hashlib.sha256(table).digest() == expected:
                return np.frombuffer(table, "<i8").astype(np.int64).reshape(count, 3)
    return None


def _remove_others(path: Path, stem: str) -> None:
    """Remove what this cache replaces: earlier contents, and what killed writers left."""
    for other in path.parent.iterdir():
        if other.name.startswith(stem) and other != path:
            with suppress(OSError):
                age = time.time() - other.stat().st_mtime
                if other.suffix == ".pixels" or age > _STALE_SECONDS:
                    other.unlink()
