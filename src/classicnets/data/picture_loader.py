"""The loader of pictures that differ in size: cut to squares batch by batch, by threads.

It speaks the whole loader protocol, as `TensorLoader` does: order is a pure function of
(seed, epoch), what a picture becomes one of (seed, epoch, index), whatever the threads.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classicnets.errors import ConfigError, DeviceError
from classicnets.preparation import Preparation

from .batch_memory import BatchMemory
from .loader import check_integer
from .picture_cache import Pictures
from .picture_cuts import Cut
from .picture_files import in_threads
from .streams import permutation, uniform


def find_device(device: torch.device | str) -> torch.device:
    """Where batches shall appear; DeviceError where there is no such device."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        raise DeviceError(
            f"device is {str(device)!r}, and the data cannot be put there ({error}); "
            "'cpu' always exists"
        ) from error


class PictureLoader:
    """Batches of (images, labels) cut from pictures as they are asked for.

    Threads cut batches ahead of the one in use, on the CPU; each batch then goes to the device as
    uint8 and is normalised there. A short last batch is kept. A `for` gives the next epoch,
    beginning with epoch 0. `image_folder` makes these.

    Args:
        pictures: any number of them, by position.
        rows: int64 (N,), the positions of those that this loader gives.
        labels: int64 (N,), their classes, in range(len(classes)).
        classes: the name of each class.
        preparation: normalises the batches.
        cut: makes squares of pictures.
        batch_size: pictures per batch, at least 1.
        shuffle: a new order each epoch; without it pictures come as they lie.
        seed: rules order and cuts; a whole number, at least 0.
        num_workers: threads; with 0 a batch is cut when it is asked for.
        memory: for the batches of this loader and of any others of the same size.
        identity: what else `settings` says of the data, ready for JSON.

    Shape:
        images (B, 3, image_size, image_size) float32, labels (B,) int64.
    """

    def __init__(
        self,
        pictures: Pictures,
        rows: Tensor,
        labels: Tensor,
        *,
        classes: Sequence[str],
        preparation: Preparation,
        cut: Cut,
        batch_size: int,
        shuffle: bool,
        seed: int,
        num_workers: int,
        memory: BatchMemory,
        identity: dict[str, Any],
    ) -> None:
        self.batch_size = check_integer("batch_size", batch_size, 1)
        self.classes = tuple(classes)
        self.preparation = preparation
        self.device = torch.device("cpu")
        self._pictures = pictures
        self._rows = rows
        self._labels = labels
        self._square = cut
        self._shuffle = shuffle
        self._seed = check_integer("seed", seed, 0)
        self._num_workers = check_integer("num_workers", num_workers, 0)
        self._memory = memory
        self._identity = identity
        self._epoch = 0
        self._rank, self._world_size = 0, 1

    @property
    def num_images(self) -> int:
        """Pictures per epoch, those of all ranks together."""
        return len(self._rows)

    @property
    def settings(self) -> dict[str, Any]:
        """What the batches depend on, ready for JSON; the same on every rank and device."""
        return {
            **self._identity,
            "num_images": self.num_images,
            "batch_size": self.batch_size,
            "shuffle": self._shuffle,
            "seed": self._seed,
            "augment": self._square.name or None,
            "classes": list(self.classes),
            "preparation": self.preparation.to_dict(),
        }

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __repr__(self) -> str:
        name = self._identity.get("name", "pictures")
        return f"PictureLoader({name}, {self.num_images} images in batches of {self.batch_size})"

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.iterate()

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch`, counted from 0, the one the next iteration gives."""
        self._epoch = check_integer("epoch", epoch, 0)

    def iterate(self, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch from batch `start` on; it counts as the epoch's iteration.

        Batches before `start` are not produced; `start=len(loader)` gives none at all. A picture
        that cannot be read any more is a DataError that names its file.
        """
        if check_integer("start", start, 0) > len(self):
            raise ConfigError(
                f"start is {start}; the epoch has {len(self)} batches, give 0 to that"
            )
        epoch, self._epoch = self._epoch, self._epoch + 1
        return self._batches(epoch, start * self.batch_size)

    def shard(self, rank: int, world_size: int) -> "PictureLoader":
        """A loader of this rank's part of every batch: `batch.tensor_split(world_size)[rank]`."""
        check_integer("world_size", world_size, 1)
        if check_integer("rank", rank, 0) >= world_size:
            raise ConfigError(f"rank is {rank}; with world_size {world_size} it is below that")
        if self._world_size > 1:
            raise ConfigError(f"{self!r} is a shard already; shard the loader it came from")
        part = copy.copy(self)
        part._rank, part._world_size = rank, world_size
        return part

    def to(self, device: torch.device | str) -> "PictureLoader":
        """This loader if its batches appear on `device` already, else another whose batches do.

        The pictures themselves stay in the machine's memory. The other one starts at the epoch
        this one would give next, and counts its own.
        """
        place = find_device(device)
        if place == self.device:
            return self
        moved = copy.copy(self)
        moved.device = place
        return moved

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(self.num_images)
        if self._shuffle:
            order = permutation(self.num_images, self._seed, epoch, "order")
        draws = uniform(self.num_images, self._square.draws, self._seed, epoch, "augment")

        def cut(part: Tensor) -> tuple[Tensor, Tensor]:
            pictures = [self._pictures[row] for row in self._rows[part].tolist()]
            images = self._square(pictures, draws[part])
            return self._normalized(images) if on_cpu else images, self._labels[part]

        on_cpu = self.device.type == "cpu"
        normalize = self.preparation.normalizer(self.device)
        batches = torch.split(order[first:], self.batch_size) if first < len(order) else ()
        parts = [batch.tensor_split(self._world_size)[self._rank] for batch in batches]
        for images, labels in in_threads(cut, parts, self._num_workers):
            if on_cpu:
                yield images, labels
            else:
                yield normalize(images.to(self.device)), labels.to(self.device)

    def _normalized(self, images: Tensor) -> Tensor:
        """As the preparation does it, bit for bit, without calling up torch's own threads."""
        scale, shift = (constant.numpy() for constant in self.preparation.scale_and_shift())
        batch = self._memory.take(len(images))
        for pixels, values in zip(images.numpy(), batch, strict=True):
            np.multiply(pixels, scale, out=values)
            values += shift
        return torch.from_numpy(batch)
