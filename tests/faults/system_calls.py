"""Standing between a process and the calls of `os` that change the disk."""

import errno
import itertools
import os
import signal
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Any

_NAMES = (
    *("open", "write", "fsync", "close", "ftruncate"),
    *("mkdir", "rename", "replace", "unlink", "rmdir", "scandir"),
)


class SystemCalls:
    """While entered, calls of `os` go through `act`.

    Attributes:
        log: the calls so far, as (name, arguments).
    """

    def __init__(self, act: Callable[..., Any] | None = None) -> None:
        self._act = act or (lambda real, *arguments, **named: real(*arguments, **named))
        self._real = {name: getattr(os, name) for name in _NAMES}
        self.log: list[tuple[str, tuple[Any, ...]]] = []

    def __enter__(self) -> "SystemCalls":
        for name, real in self._real.items():
            setattr(os, name, self._between(name, real))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _between(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.log.append((name, arguments))
            return self._act(real, *arguments, **named)

        call.__name__ = name
        return call


def phase_of(name: str, arguments: tuple[Any, ...]) -> str | None:
    """Return which phase of a save a call belongs to, None for those between."""
    if name == "write":
        return "write"
    if name == "fsync":
        return "folder fsync" if stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else "fsync"
    if name == "rename":
        return "rename" if "step_" in str(arguments[1]) else "prune"
    if name in ("unlink", "rmdir"):
        return "prune"
    return None


def fault_at(mode: str, number: int) -> Callable[..., Any]:
    """Return what to do with calls so that the one of that number meets with a fault.

    Modes: "killed before", "killed after", or the name of an error, "once" or "for good".
    """
    counter = itertools.count(1)

    def act(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        count = next(counter)  # its own, for a save calls from two threads
        if mode.startswith("killed"):
            if count == number and mode == "killed before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return real(*arguments, **named)
            finally:
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
        kind, _, duration = mode.partition(" ")
        if count == number or (count > number and duration == "for good"):
            if real.__name__ == "close":
                real(*arguments)  # a close that fails has closed all the same
            code = getattr(errno, kind)
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    return act
