"""Files and folders that reach the disk whole or not at all.

Whatever changes the disk here is a function of `os`, called by that name, so that the fault harness
can make each call fail.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import StorageError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def temporary_path(folder: Path) -> Path:
    """Return a name for something unfinished: its maker's process number, then 64 random bits."""
    return folder / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"


def write_file(path: Path, parts: Iterable[bytes | memoryview]) -> int:
    """Write a new file, not synced yet, and return its descriptor; never one that is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_and_close(descriptor: int) -> None:
    """Return when the disk has what was written."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Return when the disk has the names in a folder (Windows opens no folder, and needs none)."""
    if os.name != "nt":
        sync_and_close(os.open(folder, os.O_RDONLY))


def replace_file(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file beside its place, then put it there: at any moment the old one or the new."""
    temporary = temporary_path(path.parent)
    try:
        sync_and_close(write_file(temporary, parts))
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        discard(temporary)
        raise
    sync_folder(path.parent)


def discard(path: Path) -> None:
    """Remove a file, a link or a folder, as far as the disk lets us."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108


def open_to_read(path: Path) -> BinaryIO:
    """Open a regular file; a pipe or a device, which could block or never end, is an OSError."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = open(path, "rb", opener=lambda name, _: os.open(name, flags))  # noqa: SIM115
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def free_bytes(path: Path) -> int:
    """Return the room on the disk that holds a path, or will."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError, ValueError):
            return shutil.disk_usage(folder).free
    return 0


def storage_error(path: Path, num_bytes: int, cause: OSError | ValueError) -> StorageError:
    """Return what to raise when `path` could not take `num_bytes`, with the room it needs."""
    number = getattr(cause, "errno", None)
    reason = getattr(cause, "strerror", None) or str(cause)
    if isinstance(cause, IsADirectoryError):
        error = StorageError(f"cannot write {str(path)!r}: it is a folder; give the name of a file")
    else:
        free = free_bytes(path)
        needed = f"it needs {num_bytes / 1e6:.1f} MB, {free / 1e6:.1f} MB are free; "
        remedy = f"{needed if num_bytes else ''}make room, or " if number in _NO_ROOM else ""
        error = StorageError(
            f"cannot write {str(path)!r}: {reason}; {remedy}choose a folder that takes files"
        )
    error.errno = number
    return error
