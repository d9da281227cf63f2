"""What `fit` and `evaluate` share between ranks, so that these do what one process would.

A batch of the loader is cut into one part a rank.

- A loss is the mean over the images of all ranks, and so is its gradient: DistributedDataParallel
  averages over ranks, hence a rank with n of N images weighs n * world_size / N. A rank whose part
  is empty sends two black images through the net and weighs 0.
- Sums and counts are reduced, never means; so metrics and history are the same on every rank.
- Buffers, such as the running means of batch normalisation, are those of rank 0 (it normalises
  over its own part of a batch, not over the whole). Dropout draws from a stream of the rank.

What is marked *together* is called by every rank at the same point.
"""

import functools
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from .events import Callback, Event, each_step, wants_steps
from .losses import Loss
from .random_state import random_state, set_random_state
from .ranks import ENDED, Ranks
from .tally import Tally

_MEET_EVERY = 16  # batches of an evaluation


def shard(ranks: Ranks, loader: Any) -> tuple[Any, bool]:
    """Return a loader of this rank's parts if it can be cut, and whether that is so.

    Raises:
        ConfigError: it gives each rank other batches already.
    """
    if ranks.alone:
        return loader, True
    sampler = getattr(loader, "sampler", None)
    if type(sampler).__name__ == "DistributedSampler":
        raise ConfigError(
            "loader has a DistributedSampler; give it a plain sampler: each rank reads all "
            "batches and takes its part of each"
        )
    if not hasattr(loader, "shard"):
        return loader, False
    return loader.shard(ranks.rank, ranks.world_size), True


def parts(
    ranks: Ranks,
    batches: Iterator[tuple[Tensor, Tensor]],
    epoch: int,
    start: int,
    *,
    cut: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Return this rank's part of each batch; the ranks end together.

    Args:
        ranks: those that share the batches.
        batches: the parts already, or the batches whole.
        epoch: its number.
        start: number of the first batch.
        cut: whether to cut them here.
    """
    return batches if ranks.alone else _parts(ranks, batches, epoch, start, cut)


def _parts(
    ranks: Ranks, batches: Iterator[tuple[Tensor, Tensor]], epoch: int, start: int, cut: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    index = start
    while (batch := ranks.or_fail(lambda: next(batches, None))) is not None:
        if cut and index == start:
            _check_equal(ranks, batch)
        if index % _MEET_EVERY == 0:
            ranks.exchange()
        ranks.place_in_data = epoch, index
        images, labels = batch
        if cut:
            images = images.tensor_split(ranks.world_size)[ranks.rank]
            labels = labels.tensor_split(ranks.world_size)[ranks.rank]
        yield images, labels
        index += 1
    ranks.exchange(state=ENDED)


def _check_equal(ranks: Ranks, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    read = ranks.exchange(len(images), _checksum(labels))
    if (read != read[0]).any():
        differs = int((read != read[0]).any(1).nonzero()[0])
        raise ranks.known(
            DataError(
                f"rank {differs} reads other batches than rank 0; a loader that is not of "
                "classicnets must give the same on each: seed its generator alike"
            )
        )


def mean_over_ranks(ranks: Ranks, loss: Loss) -> Loss:
    """Return a loss whose value is the mean over the images of all ranks, together.

    Its gradient is this rank's share of that mean, times world_size: the average over ranks,
    as DistributedDataParallel takes it, is the gradient of the mean.
    """
    return loss if ranks.alone else functools.partial(_mean, ranks, loss)


def _mean(ranks: Ranks, loss: Loss, outputs: Tensor, labels: Tensor) -> Tensor:
    count = len(labels)
    mine = loss(outputs, labels) if count else outputs.sum()
    if not isinstance(mine, Tensor) or mine.ndim:
        return mine  # `Step` says what is wrong
    waits = mine.device.type != "cpu"  # then the sum is made there
    table = ranks.exchange(count, 0.0 if waits else mine.item() * count)
    total = float(table[:, 0].sum())
    value = table[:, 1].sum() / total
    if waits:
        import torch.distributed as dist

        value = mine.detach() * (count / total)
        dist.all_reduce(value)
    shared: Tensor = _Shared.apply(mine, value.to(mine), count * ranks.world_size / total)
    return shared


class _Shared(torch.autograd.Function):
    """The value of one number with the gradient of another, scaled."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, value: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.scale, None, None


def net_of_step(
    ranks: Ranks, model: torch.nn.Module, accumulate: int
) -> "RankNet | torch.nn.Module":
    """Return the net as a step calls it, together; alone, the net itself."""
    return model if ranks.alone else RankNet(ranks, model, accumulate)


class RankNet(torch.nn.Module):
    """A net in DistributedDataParallel, as a step of one rank calls it."""

    def __init__(self, ranks: Ranks, model: torch.nn.Module, accumulate: int) -> None:
        from torch.nn.parallel import DistributedDataParallel

        super().__init__()
        if not isinstance(model, DistributedDataParallel):
            model = DistributedDataParallel(model)
            model.broadcast_buffers = False  # they travel at an epoch's end, not at each step
        self._parallel = model
        self._ranks = ranks
        self._accumulate = accumulate
        self._waiting = 0  # batches whose gradients no other rank knows yet
        self._synced = self._reorders = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs of this rank's part, of no image if that is empty."""
        self._waiting = (self._waiting + 1) % self._accumulate
        last = self._waiting == 0
        if self._reorders:  # DistributedDataParallel orders its buckets anew, once and together
            self._ranks.exchange()
        self._reorders, self._synced = last and not self._synced, self._synced or last
        self._parallel.require_backward_grad_sync = last  # as its no_sync() does
        shown = images if len(images) else images.new_zeros((2, *images.shape[1:]))
        with _own_stream(self._ranks, images.device):
            outputs: Tensor = self._parallel(shown)
        return outputs if len(images) else outputs[:0]

    def average_gradients(self) -> None:
        """Do what the last batch of a group would have done for one that was cut short."""
        import torch.distributed as dist

        self._waiting = 0
        for parameter in self._parallel.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad.div_(self._ranks.world_size)


@contextmanager
def _own_stream(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Draw random numbers of this rank's own: a function of the state and the batch."""
    state = torch.get_rng_state()
    key = f"{ranks.place_in_data} {ranks.rank}".encode()
    digest = hashlib.blake2b(state.numpy().tobytes(), digest_size=7, key=key).digest()
    seed = int.from_bytes(digest, "big")
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return the net inside DistributedDataParallel, or the net as it is."""
    from torch.nn.parallel import DistributedDataParallel

    return model.module if isinstance(model, DistributedDataParallel) else model


def one_callback(ranks: Ranks, callbacks: Sequence[Callback]) -> Sequence[Callback]:
    """Return one callback in the place of all: on every rank they end the run together."""
    if ranks.alone:
        return callbacks

    def tell(event: Event) -> bool:
        heard = [call for call in callbacks if event.kind == "epoch" or wants_steps(call)]
        answers = ranks.or_fail(lambda: [call(event) for call in heard])
        return bool(ranks.exchange(True in answers)[:, 0].any())

    return [each_step(tell) if any(ranks.gather(any(map(wants_steps, callbacks)))) else tell]


def align_random(ranks: Ranks, device: torch.device) -> None:
    """Make the random state that of rank 0, together."""
    if not ranks.alone:
        set_random_state(ranks.first(lambda: random_state(device)), device)


def total(ranks: Ranks, tally: Tally) -> Tally:
    """Return the sums over all ranks, together."""
    if ranks.alone:
        return tally
    tally.read()
    counts, losses, rights = zip(
        *ranks.gather((tally.count, tally.loss_sum, tally.correct)), strict=True
    )
    total = Tally()
    total.count, total.loss_sum = sum(counts), sum(losses)
    total.correct = None if None in rights else sum(right or 0 for right in rights)
    return total


def in_order(ranks: Ranks, parts: list[Tensor]) -> Tensor:
    """Return what all ranks have of all batches, as they came from the loader, together."""
    if not parts:
        return torch.empty(0, dtype=torch.int64)
    if ranks.alone:
        return torch.cat(parts).cpu()
    batches = zip(*ranks.gather([part.cpu() for part in parts]), strict=True)
    return torch.cat([part for batch in batches for part in batch])


def save_together(ranks: Ranks, tally: Tally, write: Callable[[], None]) -> None:
    """Write on rank 0, to which the sums of all ranks are moved, together.

    Once a rank has failed, the last checkpoint stays the last.
    """
    if ranks.alone:
        write()
    elif not ranks.failed:
        sums = total(ranks, tally)
        tally.load_state_dict((Tally() if ranks.rank else sums).state_dict())
        ranks.first(write)


def share_buffers(ranks: Ranks, model: torch.nn.Module) -> None:
    """Make the buffers those of rank 0, together."""
    if not ranks.alone:
        import torch.distributed as dist

        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _checksum(values: Tensor) -> int:
    return zlib.crc32(values.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
