"""The processes that train one net together, each a rank: how they meet and how they end.

torchrun starts them, torch's own engine connects them, and `fit` and `evaluate` find it out by
themselves. Once a batch the ranks exchange a row of numbers: how they are, which signal they got,
their loss. What one of them reads there all of them read, so that they stop at the same batch. An
error that one rank has alone is left in torch's store, where the others find it when its process
has ended; none waits longer than `PATIENCE_SECONDS`.
"""

import atexit
import functools
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from ..errors import DataError, DivergedError, RankFailedError
from ..storage.run_lock import is_alive
from .devices import resolve_device
from .interruption import Interruption

PATIENCE_SECONDS = 300.0  # for a rank that answers no more
GOING, ENDED, FAILED = 0, 1, 2
_STATE, _SIGNAL, _FIRST = range(3)  # columns of what is exchanged
_SIGNALS = ("", *Interruption.NAMES)
_ENVIRONMENT = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_LOST = ("gloo", "Connection closed", "Connection reset", "Broken pipe", "Timed out", "timeout")

P = ParamSpec("P")
T = TypeVar("T")

_found: tuple[Any, "Ranks"] | None = None  # a process group and its ranks


def find_ranks() -> "Ranks":
    """Return the ranks this process is one of, joining those that torchrun started.

    A process group that is there already is taken as it is; else one is made from the environment
    variables of torchrun, with gloo for the CPU and nccl for CUDA.

    Raises:
        RankFailedError: a rank does not come.
    """
    import torch.distributed as dist

    if not dist.is_available():
        return Ranks()
    if not dist.is_initialized():
        if not os.environ.keys() >= _ENVIRONMENT or os.environ["WORLD_SIZE"] == "1":
            return Ranks()
        cuda = torch.cuda.is_available() and dist.is_nccl_available()
        try:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                timeout=timedelta(seconds=PATIENCE_SECONDS),
            )
        except dist.DistError as error:
            raise RankFailedError(
                f"the {os.environ['WORLD_SIZE']} ranks did not all come to "
                f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {error}"
            ) from error
        atexit.register(_leave)
    global _found
    if _found is None or _found[0] is not dist.group.WORLD:
        _found = dist.group.WORLD, Ranks(dist.get_rank(), dist.get_world_size())
    return _found[1]


def on_every_rank(function: Callable[P, T]) -> Callable[P, T]:
    """Make of a function one that all ranks call, and that ends on all when one of them ends."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        with find_ranks().watched():
            return function(*args, **options)

    return call


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        with suppress(RuntimeError):
            dist.destroy_process_group()


class Ranks:
    """The ranks of a run, seen from one of them; alone, everything is as without them.

    What is marked *together* is called by every rank at the same point.

    Attributes:
        rank: which of them this process is; rank 0 alone writes and shows.
        world_size: how many there are.
        alone: whether there is but one.
        failed: whether one of them is known to have failed.
        place_in_data: epoch and batch that are being worked on.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank = rank
        self.world_size = world_size
        self.alone = world_size == 1
        self._interruption: Interruption | None = None
        self.place_in_data = (0, 0)  # epoch, batch
        self.failed = False
        self._peers: list[tuple[str, int]] = []  # machine and process of each
        self._group: Any = None  # of processors; the usual one unless that is of GPUs alone
        if not self.alone:
            self._group = _group_of_processors()
            with self.watched():
                self._peers = self.gather((platform.node(), os.getpid()))

    def device(self, device: str | torch.device) -> torch.device:
        """Return the device named; "auto" and "cuda" are this rank's own GPU."""
        if self.alone or str(device) not in ("auto", "cuda"):
            return resolve_device(device)
        if not torch.cuda.is_available():
            return resolve_device("cpu" if device == "auto" else device)
        # modulo, for a launcher may show each process its own GPU alone
        local = int(os.environ.get("LOCAL_RANK", self.rank)) % torch.cuda.device_count()
        place = resolve_device(f"cuda:{local}")
        torch.cuda.set_device(place)
        return place

    # what ranks tell each other

    def exchange(
        self, first: float = 0.0, second: float = 0.0, *, state: int = GOING, text: str = ""
    ) -> Tensor:
        """Return two numbers of each rank, a row for each, together.

        Raises:
            RankFailedError: another rank has failed; every one of them learns it here.
            DataError: the loader of one rank has ended, that of another has not.
        """
        import torch.distributed as dist

        table = torch.zeros(self.world_size, 4, dtype=torch.float64)
        listening = self._interruption
        asked = _SIGNALS.index(listening.asked or "") if listening else 0
        table[self.rank] = torch.tensor((state, asked, first, second), dtype=torch.float64)
        dist.all_reduce(table, group=self._group)  # what is added to each row is zeros: exact
        signal = int(table[:, _SIGNAL].max())
        if listening and signal:
            listening.received = _SIGNALS[signal]
        states = table[:, _STATE].tolist()
        if max(states) > 0 and min(states) < FAILED and states.count(ENDED) < self.world_size:
            self._raise_as_one(states, text)
        return table[:, _FIRST:]

    def _raise_as_one(self, states: list[float], text: str) -> None:
        """Tell every rank which of them failed, or ended before the others."""
        texts = self.gather(text)
        self.failed = True
        if FAILED not in states:
            ended = [rank for rank, state in enumerate(states) if state == ENDED]
            raise self.known(
                DataError(
                    f"the loader of rank {ended[0]} has ended, that of rank "
                    f"{states.index(GOING)} has not; give every rank the same batches"
                )
            )
        failed = states.index(FAILED)
        if states[self.rank] != FAILED:
            raise self.known(RankFailedError(f"rank {failed} failed: {texts[failed]}"))

    def gather(self, value: T) -> list[T]:
        """Return the value of each rank, together."""
        if self.alone:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def first(self, function: Callable[[], T]) -> T:
        """Run a function on rank 0 alone and return its result, or raise its error, together."""
        if self.alone:
            return function()
        import torch.distributed as dist

        answer: list[Any] = [None, None]
        if self.rank == 0:
            try:
                answer[0] = function()
            except Exception as error:
                answer[1] = self.known(error)
        dist.broadcast_object_list(answer, src=0, group=self._group)
        if answer[1] is not None:
            raise self.known(answer[1])
        result: T = answer[0]
        return result

    def in_turn(self, function: Callable[[], T]) -> T:
        """Run a function on the first rank of each machine, then on the others, together."""
        if self.alone:
            return function()
        leads = os.environ.get("LOCAL_RANK", str(self.rank)) == "0"
        if not leads:
            self.exchange()
        result = self.or_fail(function)
        if leads:
            self.exchange()
        self.exchange()
        return result

    def or_fail(self, function: Callable[[], T]) -> T:
        """Run a function; its error is told to the ranks, which wait in an exchange."""
        try:
            return function()
        except Exception as error:
            self.failed = True
            self.exchange(state=FAILED, text=_line(error))
            self.known(error)
            raise

    def listen(self, interruption: Interruption) -> Interruption:
        """Let a signal to one rank count once all have heard of it."""
        if not self.alone:
            self._interruption = interruption
            interruption.agreed = True
        return interruption

    # the end of a rank

    @staticmethod
    def known(error: T) -> T:
        """Mark an error that every rank raises by itself."""
        error._known_to_all_ranks = True  # type: ignore[attr-defined]
        return error

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within the block a rank's death or error ends all; the others than rank 0 do not warn.

        Raises:
            RankFailedError: another rank died, hung, or had an error.
        """
        if self.alone:
            yield
            return
        try:
            with warnings.catch_warnings():
                if self.rank:
                    warnings.simplefilter("ignore")
                yield
        except BaseException as error:
            if isinstance(error, DivergedError) or hasattr(error, "_known_to_all_ranks"):
                raise  # on every rank at once
            lost = self._is_lost(error)
            reason = self._reason() if lost else ""
            self._close("" if lost else _line(error))
            if not lost:
                self.known(error)
                raise
            raise self.known(
                RankFailedError(
                    f"{reason} ({str(error).splitlines()[0][:160]}); rank {self.rank} ends with "
                    "it. Start all of them again, with resume=True to go on from the last "
                    "checkpoint"
                )
            ) from error

    def _is_lost(self, error: BaseException) -> bool:
        import torch.distributed as dist

        if isinstance(error, dist.DistError):
            return True
        return isinstance(error, RuntimeError) and any(word in str(error) for word in _LOST)

    def _reason(self) -> str:
        """Say which rank is the cause, as far as can be known here."""
        told = _told()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if told():
                return f"rank {told()}"
            for rank, (host, pid) in enumerate(self._peers):
                if host == platform.node() and _is_gone(pid):
                    return f"rank {rank} (process {pid} on {host}) died"
            time.sleep(0.02)
        return (
            f"a rank died or gave no answer for {PATIENCE_SECONDS:g} s (fit and evaluate must be "
            "called by every rank)"
        )

    def _close(self, text: str) -> None:
        """Leave the ranks: whoever waits for this one is told."""
        import torch.distributed as dist

        with suppress(Exception):
            if text:
                _store().set("classicnets/failed", f"{self.rank} failed: {text}")
            if torch.cuda.is_initialized() and dist.group.WORLD is not None:  # type: ignore[no-untyped-call]
                dist.group.WORLD.abort()
        global _found
        self._group = _found = None
        _leave()


def _group_of_processors() -> Any:
    """Return None for the usual group if it reaches processors, else one that does, together."""
    import torch.distributed as dist

    if "gloo" in dist.get_backend_config():
        return None
    return dist.new_group(backend="gloo", timeout=timedelta(seconds=PATIENCE_SECONDS))


def _store() -> Any:
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


def _told() -> Callable[[], str]:
    """Return a function that gives what a failed rank has said last, if anything."""

    def told() -> str:
        with suppress(Exception):  # the store dies with the process that keeps it
            store = _store()
            if store.check(["classicnets/failed"]):
                return str(store.get("classicnets/failed").decode())
        return ""

    return told


def _is_gone(pid: int) -> bool:
    """Whether a process of this machine has ended, be it that nobody has asked how."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    return not is_alive(pid)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
