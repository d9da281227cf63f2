"""A DataLoader whose worker processes may die or hang, read so that it is said and none is left."""

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import WorkerDiedError

_PATIENCE_SECONDS = 120  # for one batch, where the loader has no timeout of its own
_LOOK_SECONDS = 2  # between two looks at the workers


def watched(loader: Any) -> Generator[Any, None, None]:
    """Give the batches of any loader, watching the worker processes if it is one that has some.

    Raises:
        WorkerDiedError: a worker was killed, or gave nothing for two minutes (or for the loader's
            own timeout). What a worker raised itself comes through as it is.
    """
    batches: Any = None
    count = 0
    with _deaths_found_by_polling(loader) as poll:
        try:
            patience = getattr(loader, "timeout", 0) or _PATIENCE_SECONDS
            batches = _looking_often(loader)
            poll()
            for batch in iter(lambda: _next(batches, patience), _END):
                count += 1
                yield batch
        except Exception as error:
            reason = _failure(batches, error)
            if reason is None:
                raise
            raise WorkerDiedError(
                f"{reason} after {count} batches ({error}); look for too little memory or shared "
                "memory, or try num_workers=0"
            ) from error
        finally:
            end_workers = getattr(batches, "_shutdown_workers", None)
            if end_workers and not getattr(loader, "persistent_workers", False):
                end_workers()  # by itself it waits for a traceback to be forgotten
            elif end_workers:
                batches._timeout = loader.timeout  # this iterator stays the loader's


_END = object()


def _looking_often(loader: Any) -> Iterator[Any]:
    """Return an iterator that comes back every few seconds while its workers give nothing."""
    if not (getattr(loader, "num_workers", 0) and getattr(loader, "timeout", None) == 0):
        return iter(loader)
    loader.timeout = min(_LOOK_SECONDS, _PATIENCE_SECONDS)
    try:
        return iter(loader)
    finally:
        loader.timeout = 0


def _next(batches: Iterator[Any], patience: float) -> Any:
    deadline = time.monotonic() + patience
    while True:
        try:
            return next(batches, _END)
        except RuntimeError as error:  # torch's iterator can be asked again
            if "DataLoader timed out" not in str(error) or time.monotonic() >= deadline:
                raise


def _failure(batches: Any, error: Exception) -> str | None:
    """Return what became of the workers of a DataLoader's iterator, None if they are well.

    Where they hang they are killed, for torch would wait five seconds for each to end.
    """
    workers = getattr(batches, "_workers", ())
    for worker in workers:
        worker.join(0.1)  # a connection can break some moments before its process is gone
        if not worker.is_alive():
            return f"the loader's worker process {worker.pid} died (exit code {worker.exitcode})"
    if "DataLoader timed out" in str(error):
        for worker in workers:
            worker.kill()
        return "the loader's worker processes gave no batch in time"
    return "a worker process of the loader died" if "DataLoader worker (pid" in str(error) else None


@contextmanager
def _deaths_found_by_polling(loader: Any) -> Iterator[Callable[[], None]]:
    """Keep torch from raising in the middle of a step when a worker process dies.

    torch's handler of SIGCHLD raises wherever the main thread stands, which may be between the
    updates of two weights. Without it the next batch that is asked for finds the death. The first
    iterator of a process installs the handler, so what is given must be called after that.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    has_workers = bool(getattr(loader, "num_workers", 0))
    if not (in_main_thread and has_workers and hasattr(signal, "SIGCHLD")):
        yield lambda: None
        return
    former = signal.getsignal(signal.SIGCHLD)

    def poll() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    try:
        poll()
        yield poll
    finally:
        signal.signal(signal.SIGCHLD, former)
