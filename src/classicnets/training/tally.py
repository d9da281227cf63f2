"""Means over images that do not wait for the device at each step."""

import math

import torch
from torch import Tensor


class Tally:
    """Sums of losses and right answers over images.

    Losses and outputs are kept as they come and read every `READ_EVERY` batches, so that a GPU is
    not waited for at each step. The sums do not depend on when they are read.

    Attributes:
        count: images seen.
        losses: mean loss of each batch read so far.
        correct: right answers; None once labels were not classes.
    """

    READ_EVERY = 64

    def __init__(self) -> None:
        self.count = 0
        self.loss_sum = 0.0
        self.correct: int | None = 0
        self.losses: list[float] = []
        self._waiting: list[tuple[Tensor | float, int, Tensor | None, Tensor | None]] = []

    def add(self, loss: Tensor | float, outputs: Tensor, labels: Tensor) -> bool:
        """Take in one batch; return whether the sums were read, so that `losses` is up to date."""
        if self.correct is not None and not are_classes(outputs, labels):
            self.correct = None
        kept = (None, None) if self.correct is None else (outputs, labels)
        self._waiting.append((loss, len(labels), *kept))
        if len(self._waiting) < self.READ_EVERY:
            return False
        self.read()
        return True

    def read(self) -> None:
        """Bring the sums up to date."""
        if not self._waiting:
            return
        losses, counts, outputs, labels = zip(*self._waiting, strict=True)
        self._waiting.clear()
        hits: Tensor | int = 0
        if self.correct is not None:
            hits = (torch.cat(outputs).argmax(1) == torch.cat(labels)).sum()
        values = _numbers(losses)  # a device is waited for here, all its work being set
        for value, count in zip(values, counts, strict=True):
            self.loss_sum += value * count
            self.count += count
        self.losses += values
        if self.correct is not None:
            self.correct += int(hits)

    @property
    def loss(self) -> float:
        """Mean loss over the images read."""
        return self.loss_sum / self.count if self.count else math.nan

    @property
    def accuracy(self) -> float | None:
        """Part of the images read that was right, 0..1; None where labels are not classes."""
        return None if self.correct is None or not self.count else self.correct / self.count

    def state_dict(self) -> dict[str, float | int | None]:
        """Return the sums, all batches read."""
        self.read()
        return {"count": self.count, "loss_sum": self.loss_sum, "correct": self.correct}

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Go on from saved sums."""
        self.__dict__.update(state)


def are_classes(outputs: Tensor, labels: Tensor) -> bool:
    """Return whether outputs (N, C) and labels (N,) of integers make a classification.

    One output is a score of its own, whose largest place says nothing.
    """
    return (
        outputs.ndim == 2
        and outputs.shape[1] > 1
        and labels.ndim == 1
        and not labels.is_floating_point()
    )


def _numbers(losses: tuple[Tensor | float, ...]) -> list[float]:
    """Return losses as numbers; those on a device are fetched together."""
    tensors = [loss for loss in losses if isinstance(loss, Tensor)]
    fetched = iter(torch.stack(tensors).float().tolist() if tensors else ())
    return [next(fetched) if isinstance(loss, Tensor) else loss for loss in losses]
