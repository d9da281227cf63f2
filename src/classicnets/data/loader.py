"""The loader of data that fit in memory: batches cut from tensors, in an order ruled by a seed.

It speaks the whole loader protocol: `len`, `set_epoch`, `iterate(start)`, `shard`, `to`. Order is
a pure function of (seed, epoch) and augmentation one of (seed, epoch, index), so that a run may
stop anywhere, go on elsewhere, on more processes or another device, and see the same batches.
"""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor

from classicnets.errors import ConfigError, DataError, DeviceError
from classicnets.preparation import Preparation

from .streams import permutation, uniform

_BYTES_AT_ONCE = 2**25  # of float32 pictures, prepared together on a GPU


class Augmentation(Protocol):
    """What a loader asks of an augmentation: a pure function of the pictures and their draws."""

    @property
    def name(self) -> str:
        """What checkpoints call it; it tells apart augmentations that act differently."""

    @property
    def draws(self) -> int:
        """Uniform random numbers wanted per picture and epoch."""

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Pictures uint8 (N, C, H, W) and draws (N, d) in [0, 1) -> pictures in 0..255.

        On a GPU N is that of several batches: what becomes of a picture must not depend on those
        with it.
        """


class TensorLoader:
    """Batches of (images, labels) cut from uint8 pictures held in memory.

    A batch is one gather of uint8 pictures, the augmentation if any, and a normalisation in two
    operations; nothing is done per picture in Python. On a GPU many small batches are prepared
    together, and a batch that is kept holds the memory of those with it (32 MiB). Each batch is the
    caller's to keep or change. A short last batch is kept. A `for` gives the next epoch, beginning
    with epoch 0.

    Args:
        images: uint8 (N, C, H, W) at the size of the net, as `preparation.uint8` gives them.
        labels: int64 (N,), each in range(len(classes)); checked here, once.
        classes: the name of each class.
        preparation: normalises the batches; its channels and size are those of the images.
        batch_size: pictures per batch, at least 1.
        shuffle: a new order each epoch; without it pictures come as they lie.
        seed: rules order and augmentation; a whole number, at least 0.
        augment: an object with `name`, `draws` and `__call__(images, draws)`, or None.
        repeat: how many epochs differ; the next is the first again, its order and its augmentation.
            None if all differ.
        name: what the data are called in `settings`.

    Shape:
        images (B, C, H, W) float32, labels (B,) int64.

    Raises:
        DataError: images or labels of a wrong type or shape, unequal in number, none at all; a
            label outside the classes.
        ConfigError: batch_size or repeat below 1, seed below 0, or one of them no whole number.

    Example:
        >>> images = torch.zeros(10, 1, 28, 28, dtype=torch.uint8)
        >>> loader = TensorLoader(images, torch.arange(10) % 2, classes=("even", "odd"),
        ...                       preparation=Preparation(28), batch_size=4)
        >>> [len(labels) for _, labels in loader]
        [4, 4, 2]
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        classes: Sequence[str],
        preparation: Preparation,
        batch_size: int = 64,
        shuffle: bool = False,
        seed: int = 0,
        augment: Augmentation | None = None,
        repeat: int | None = None,
        name: str = "tensors",
    ) -> None:
        _check_images(images, preparation)
        _check_labels(labels, len(images), len(classes))
        self.batch_size = check_integer("batch_size", batch_size, 1)
        self.classes = tuple(classes)
        self.preparation = preparation
        self._images = images
        self._labels = labels.to(images.device)
        self._shuffle = shuffle
        self._seed = check_integer("seed", seed, 0)
        self._augment = augment
        self._repeat = None if repeat is None else check_integer("repeat", repeat, 1)
        self._name = name
        self._epoch = 0
        self._rank, self._world_size = 0, 1

    @property
    def device(self) -> torch.device:
        """Where the pictures lie and the batches appear."""
        return self._images.device

    @property
    def num_images(self) -> int:
        """Pictures per epoch, those of all ranks together."""
        return len(self._images)

    @property
    def settings(self) -> dict[str, Any]:
        """What the batches depend on, ready for JSON; the same on every rank and device."""
        return {
            "name": self._name,
            "num_images": self.num_images,
            "batch_size": self.batch_size,
            "shuffle": self._shuffle,
            "seed": self._seed,
            "augment": None if self._augment is None else self._augment.name,
            "repeat": self._repeat,
            "classes": list(self.classes),
            "preparation": self.preparation.to_dict(),
        }

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __repr__(self) -> str:
        return (
            f"TensorLoader({self._name}, {self.num_images} images in batches of {self.batch_size})"
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.iterate()

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch`, counted from 0, the one the next iteration gives."""
        self._epoch = check_integer("epoch", epoch, 0)

    def iterate(self, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch from batch `start` on; it counts as the epoch's iteration.

        Batches before `start` are not produced; `start=len(loader)` gives none at all.
        """
        if check_integer("start", start, 0) > len(self):
            raise ConfigError(
                f"start is {start}; the epoch has {len(self)} batches, give 0 to that"
            )
        epoch, self._epoch = self._epoch, self._epoch + 1
        if self._repeat is not None:
            epoch %= self._repeat
        return self._batches(epoch, start * self.batch_size)

    def shard(self, rank: int, world_size: int) -> "TensorLoader":
        """A loader of this rank's part of every batch: `batch.tensor_split(world_size)[rank]`.

        Number of batches, order and `settings` stay those of the whole. Parts of one batch differ
        by at most one picture; a last batch of fewer pictures than ranks leaves some ranks an
        empty part.
        """
        check_integer("world_size", world_size, 1)
        if check_integer("rank", rank, 0) >= world_size:
            raise ConfigError(f"rank is {rank}; with world_size {world_size} it is below that")
        if self._world_size > 1:
            raise ConfigError(f"{self!r} is a shard already; shard the loader it came from")
        part = copy.copy(self)
        part._rank, part._world_size = rank, world_size
        return part

    def to(self, device: torch.device | str) -> "TensorLoader":
        """This loader if its data are on `device` already, else another with a copy of them there.

        The other one starts at the epoch this one would give next, and counts its own.
        """
        try:
            images = self._images.to(device)
        except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
            raise DeviceError(
                f"device is {str(device)!r}, and the data cannot be put there ({error}); "
                "'cpu' always exists"
            ) from error
        if images is self._images:
            return self
        moved = copy.copy(self)
        moved._images, moved._labels = images, self._labels.to(device)
        return moved

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        order: Tensor | None = None
        if self._shuffle:
            order = permutation(self.num_images, self._seed, epoch, "order")[first:].to(self.device)
            labels, source = self._labels.index_select(0, order), order
        else:
            labels, source = self._labels[first:].clone(), self._images[first:]
        at_once = self._batches_at_once()
        cut = self._cut(source)
        images = _joined(cut, at_once)
        if order is not None:
            images = map(partial(self._images.index_select, 0), images)
        if self._augment is not None:
            draws = uniform(self.num_images, self._augment.draws, self._seed, epoch, "augment")
            draws = draws.to(self.device)
            draws = draws[first:] if order is None else draws.index_select(0, order)
            images = map(self._augment, images, _joined(self._cut(draws), at_once))
        images = map(self.preparation.normalizer(self.device), images)
        if at_once > 1:
            sizes = [[len(part) for part in parts] for parts in _groups(cut, at_once)]
            images = chain.from_iterable(map(torch.unsafe_split_with_sizes, images, sizes))
        return zip(images, self._cut(labels), strict=True)

    def _batches_at_once(self) -> int:
        """How many batches are prepared together: several small ones take a GPU as long as one."""
        if self.device.type == "cpu":
            return 1
        batch = 4 * self.batch_size * self._images[0].numel()
        return max(1, _BYTES_AT_ONCE // batch)

    def _cut(self, values: Tensor) -> Sequence[Tensor]:
        """The rows in batches, or in this rank's parts of the batches."""
        batches = torch.split(values, self.batch_size) if len(values) else ()
        if self._world_size == 1:
            return batches
        return [batch.tensor_split(self._world_size)[self._rank] for batch in batches]


def _groups(parts: Sequence[Tensor], size: int) -> Iterator[list[Tensor]]:
    return (list(parts[first : first + size]) for first in range(0, len(parts), size))


def _joined(parts: Sequence[Tensor], size: int) -> Iterator[Tensor]:
    """The parts, or so many together."""
    return iter(parts) if size == 1 else map(torch.cat, _groups(parts, size))


def check_integer(name: str, value: int, minimum: int) -> int:
    """`value` if it is a whole number, at least `minimum`; else a ConfigError that says so."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, at least {minimum}")
    return value


def _check_images(images: Tensor, preparation: Preparation) -> None:
    size = preparation.image_size
    expected = (preparation.channels, size, size)
    if images.dtype != torch.uint8 or images.dim() != 4 or tuple(images.shape[1:]) != expected:
        raise DataError(
            f"images are {images.dtype} of shape {tuple(images.shape)}; the preparation wants "
            f"torch.uint8 of shape (N, {', '.join(map(str, expected))})"
        )
    if not len(images):
        raise DataError("images has no pictures; a loader needs at least 1")


def _check_labels(labels: Tensor, num_images: int, num_classes: int) -> None:
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise DataError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}; "
            f"give torch.int64 of shape ({num_images},), the number of each picture's class"
        )
    if len(labels) != num_images:
        raise DataError(f"there are {num_images} images and {len(labels)} labels; give one each")
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"labels[{index}] is {int(labels[index])}; with {num_classes} classes the labels are "
            f"0 to {num_classes - 1}"
        )
