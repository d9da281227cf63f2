"""At most one living process writes to a folder."""

import functools
import json
import os
import platform
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import RunLockedError

_PATIENCE_SECONDS = 1.0  # for a new holder to write its name, or a dead one's children to end


class RunLock:
    """The lock of a folder: the kernel's own, on the file `.lock`, which says who holds it.

    It ends with its holder, however that ends, so nothing is left to clear. Children made by
    `fork` do not hold it, nor keep it when their parent has died.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this very process holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RunLockedError: another process holds it, or this one by another `RunLock`.
            OSError: the folder takes no lock file.
        """
        _let_go_in_children()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._folder / ".lock", flags, 0o666)
        try:
            self._wait_for(descriptor)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_myself()).encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            try:
                os.ftruncate(self._descriptor, 0)
            finally:
                self.let_go()

    def let_go(self) -> None:
        """Close the lock file of this process and leave its text to whoever holds the lock."""
        _held.discard(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _wait_for(self, descriptor: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _lock(descriptor):
            holder = _holder(descriptor)
            if _may_live(holder) or time.monotonic() > deadline:
                who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
                raise RunLockedError(
                    f"{str(self._folder)!r} is in use by {who} since {holder.get('since', '?')}; "
                    "wait until it ends, or choose another folder"
                )
            time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine exists (on Windows, where asking can end it: yes)."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which stays readable
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_held: set[RunLock] = set()


@functools.cache
def _let_go_in_children() -> None:
    def let_go() -> None:
        for lock in tuple(_held):
            lock.let_go()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=let_go)


def _myself() -> dict[str, Any]:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "since": since}


def _holder(descriptor: int) -> dict[str, Any]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        holder = json.loads(os.read(descriptor, 1000))
    except ValueError:  # nothing written yet
        return {}
    return holder if isinstance(holder, dict) else {}


def _may_live(holder: dict[str, Any]) -> bool:
    pid = holder.get("pid")
    return isinstance(pid, int) and (holder.get("host") != platform.node() or is_alive(pid))
