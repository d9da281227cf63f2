"""One face for every loader: ours, a torch DataLoader, a list of batches."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from .distributed import parts, shard
from .random_state import random_state, set_random_state
from .ranks import Ranks
from .workers import watched

Batch = tuple[Tensor, Tensor]


class Batches:
    """The batches of a loader on a device, epoch by epoch, from any batch on.

    A loader of ours (one with `set_epoch` and `iterate`) is asked for just what is needed, and has
    proved its labels. Any other iterable is read from its start, and each batch is looked at.

    Args:
        loader: an iterable of (images, labels).
        device: where the batches are wanted.
        dtype: the type that images of floats are made; None leaves them.
        ranks: those that share the batches; None for this process alone.

    Attributes:
        exact: whether the loader is one of ours.
        count: batches of an epoch, None where the loader has no length.
        num_classes: set once the net's outputs are known; labels of foreign loaders are held
            against it.

    Raises:
        DataError: the loader is not an iterable of (images, labels), or is empty.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        device: torch.device,
        dtype: torch.dtype | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self._dtype = dtype
        self.ranks = ranks or Ranks()
        self.exact = hasattr(loader, "set_epoch") and hasattr(loader, "iterate")
        if not isinstance(loader, Iterable):
            raise DataError(
                f"loader is {loader!r}; give an iterable of (images, labels) batches, such as "
                "data.mnist().train or a torch DataLoader"
            )
        self.loader: Any = loader.to(device) if hasattr(loader, "to") else loader
        self.loader, self._sharded = shard(self.ranks, self.loader)
        self.device = device
        self.count = _length(loader)
        self.num_classes: int | None = None
        self._at_start: dict[str, Any] | None = None  # random state before the epoch's first draw
        self._exhausted = False
        self._replay: dict[str, Any] | None = None
        if self.count == 0:
            raise DataError(
                "the loader is empty: it has 0 batches; give it data, or drop_last=False"
            )

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Give the batches of epoch `number` (from 0), beginning with batch `start`.

        Raises:
            DataError: a batch is not a pair of matching tensors, a label lies outside the classes,
                or the loader gave nothing.
            WorkerDiedError: a worker process of a DataLoader was killed or hung.
        """
        batches = self._whole(number, start)
        return parts(self.ranks, batches, number, start, cut=not self._sharded)

    def _whole(self, number: int, start: int) -> Iterator[Batch]:
        if self.exact:
            self.loader.set_epoch(number)
            batches: Iterator[Batch] = iter(self.loader.iterate(start=start))
            if self._dtype in (None, torch.float32):
                return batches
            return ((images.to(self._dtype), labels) for images, labels in batches)
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(number)
        return self._foreign(number, start)

    def _foreign(self, number: int, start: int) -> Iterator[Batch]:
        index = start - 1
        replay, self._replay = self._replay, None
        if replay is not None:
            drawn_again = start and not replay["exhausted"]
            self._set_random(replay["at_start" if drawn_again else "now"])
            if start and not drawn_again:
                return
        self._at_start, self._exhausted = self._random(), False
        batches = watched(self.loader)
        try:
            for _ in range(start):  # drawn again and dropped
                next(batches, None)
            if replay is not None and start:
                self._set_random(replay["now"])
            for index, batch in enumerate(batches, start):
                yield self._checked(index, batch)
            self._exhausted = True
        finally:
            batches.close()
        if index < 0:
            raise DataError(
                f"the loader gave no batch in epoch {number + 1}; a generator can be read only "
                "once: give a list of batches or a loader"
            )

    def state_dict(self) -> dict[str, Any] | None:
        """Return the random states that a foreign loader draws from; None for one of ours."""
        if self.exact:
            return None
        return {
            "at_start": self._at_start,
            "now": self._random(),
            "exhausted": self._exhausted,  # samplers draw once more as they end
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Let the next epoch begin as the saved one did, and go on as it did."""
        self._replay = state

    @contextmanager
    def generator_kept(self) -> Iterator[None]:
        """Leave the generator of a foreign loader after the block as it was before it."""
        generator = getattr(self.loader, "generator", None)
        state = generator.get_state() if isinstance(generator, torch.Generator) else None
        try:
            yield
        finally:
            if state is not None:
                self.loader.generator.set_state(state)

    def _random(self) -> dict[str, Any]:
        generator = getattr(self.loader, "generator", None)
        own = generator.get_state() if isinstance(generator, torch.Generator) else None
        return {"process": random_state(self.device), "generator": own}

    def _set_random(self, state: dict[str, Any]) -> None:
        set_random_state(state["process"], self.device)
        if state["generator"] is not None:
            self.loader.generator.set_state(state["generator"])

    def _checked(self, index: int, batch: Any) -> Batch:
        if isinstance(batch, Mapping):
            raise DataError(
                f"batch {index} is a {type(batch).__name__} with {', '.join(map(repr, batch))}; "
                "give pairs (images, labels), by a collate_fn or as a list of batches"
            )
        try:
            images, labels = batch
            if not (isinstance(images, Tensor) and isinstance(labels, Tensor)):
                images, labels = torch.as_tensor(images), torch.as_tensor(labels)
            counts = len(images), len(labels)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"batch {index} is no pair (images, labels) of tensors or arrays: {error}"
            ) from error
        if counts[0] != counts[1] or counts[0] == 0:
            raise DataError(
                f"batch {index} has {counts[0]} images and {counts[1]} labels; "
                "a batch needs one label for each image, and at least one image"
            )
        if self.num_classes is not None:
            check_labels(labels, self.num_classes, f"batch {index}")
        dtype = images.dtype
        if dtype is not self._dtype and self._dtype is not None and dtype.is_floating_point:
            images = images.to(self._dtype)
        if labels.dtype is not torch.int64 and not labels.is_floating_point():
            labels = labels.long()
        if images.device != self.device:
            images = images.to(self.device, non_blocking=True)
        if labels.device != self.device:
            labels = labels.to(self.device, non_blocking=True)
        elif labels.is_cpu:
            labels = labels.clone()  # kept for a while, and the loader may fill its memory again
        return images, labels


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError:  # a DataLoader has __len__ even where its data set has none
        return None


def check_labels(labels: Tensor, num_classes: int, where: str) -> None:
    """Raise unless class numbers lie in 0..num_classes-1; other targets are not looked at."""
    if labels.ndim != 1 or labels.is_floating_point() or not len(labels):
        return
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= num_classes:
        index = int(((labels < 0) | (labels >= num_classes)).nonzero()[0])
        raise DataError(
            f"label {int(labels[index])} at index {index} of {where} lies outside the classes; "
            f"the net has {num_classes} outputs, so labels are 0 to {num_classes - 1}"
        )
