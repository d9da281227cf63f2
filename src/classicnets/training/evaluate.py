"""How good a net is: loss, accuracy with its interval, confusion."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError, DataError
from ..evaluation_mode import evaluating
from .batches import Batches, check_labels
from .devices import device_of, dtype_of
from .distributed import in_order, total, unwrapped
from .losses import Loss, is_over_classes, resolve_loss
from .memory import freed_memory_kept
from .progress import Progress
from .random_state import random_state_kept
from .ranks import find_ranks, on_every_rank
from .tally import Tally, are_classes


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found, over `count` images.

    Attributes:
        loss: mean over images.
        accuracy: part that was right, 0..1; None where labels are not classes.
        interval: the 95 % Wilson score interval of the accuracy, (low, high).
        count: images.
        labels: (count,) int64, the true classes in the loader's order.
        predictions: (count,) int64, the net's.
        num_classes: outputs of the net.
    """

    loss: float
    accuracy: float | None
    interval: tuple[float, float] | None
    count: int
    labels: Tensor = field(repr=False)
    predictions: Tensor = field(repr=False)
    num_classes: int = field(repr=False)

    @cached_property
    def confusion(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Counts (num_classes, num_classes), a row per true class, a column per prediction."""
        from sklearn.metrics import confusion_matrix

        matrix: np.ndarray[Any, np.dtype[np.int64]] = confusion_matrix(
            self.labels.numpy(), self.predictions.numpy(), labels=range(self.num_classes)
        )
        return matrix

    @property
    def per_class_accuracy(self) -> list[float]:
        """For each class the part of its images that was right; NaN for a class without images."""
        totals = self.confusion.sum(1)
        right = self.confusion.diagonal()
        return [
            float(hits / total) if total else math.nan
            for hits, total in zip(right, totals, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return loss, accuracy, interval, count, accuracy per class and confusion as JSON."""
        result: dict[str, Any] = {"loss": self.loss, "accuracy": self.accuracy, "count": self.count}
        if self.accuracy is not None and self.interval is not None:
            result["interval"] = list(self.interval)
            result["per_class_accuracy"] = [
                None if math.isnan(value) else value for value in self.per_class_accuracy
            ]
            result["confusion"] = self.confusion.tolist()
        return result

    def __str__(self) -> str:
        if self.accuracy is None or self.interval is None:
            return f"loss {self.loss:.4f} on {self.count:,} images"
        low, high = self.interval
        return (
            f"accuracy {100 * self.accuracy:.2f} % (95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f}), loss {self.loss:.4f}, on {self.count:,} images"
        )


def wilson_interval(right: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, 95 % unless `z` says otherwise.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    Raises:
        ConfigError: `right` is not within 0..count, or count is 0.

    Example:
        >>> low, high = wilson_interval(90, 100)
        >>> round(low, 4), round(high, 4)
        (0.8256, 0.9448)
    """
    if count < 1 or not 0 <= right <= count:
        raise ConfigError(f"right is {right} of count {count}; need 0 <= right <= count, count > 0")
    p = right / count
    middle = p + z * z / (2 * count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


@on_every_rank
def evaluate(
    model: torch.nn.Module,
    loader: Iterable[Any],
    *,
    device: str | torch.device | None = None,
    loss: str | Loss | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measure a net on every image of a loader, changing neither its mode nor any random number.

    Args:
        model: the net; its outputs are (N, num_classes).
        loader: an iterable of (images, labels) batches.
        device: where to compute, and where the model then stays; None for where it is.
        loss: a name, or a callable of (outputs, labels); None for cross-entropy.
        progress: whether to show a bar.

    Raises:
        DataError: the loader is empty, or a label lies outside the classes.
        DeviceError: the device does not exist.
    """
    ranks, model = find_ranks(), unwrapped(model)
    place = device_of(model) if device is None else ranks.device(device)
    model.to(place)
    batches = Batches(loader, place, dtype_of(model), ranks)
    with Progress(progress and ranks.rank == 0) as bar, freed_memory_kept():
        bar.start("evaluate", batches.count)
        scored = score(model, batches, resolve_loss(loss), bar=bar)
    tally, labels, predictions, num_classes = scored
    right = tally.correct
    return Evaluation(
        loss=tally.loss,
        accuracy=tally.accuracy,
        interval=None if right is None else wilson_interval(right, tally.count),
        count=tally.count,
        labels=labels,
        predictions=predictions,
        num_classes=num_classes,
    )


def score(
    model: torch.nn.Module,
    batches: Batches,
    loss: Loss,
    *,
    autocast: AbstractContextManager[Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    bar: Progress | None = None,
) -> tuple[Tally, Tensor, Tensor, int]:
    """Return the sums, labels, predictions and number of outputs over a loader.

    When `stop` says so the pass ends early, and the sums cover what was seen.
    """
    tally = Tally()
    all_labels: list[Tensor] = []
    all_predictions: list[Tensor] = []
    num_classes = 0
    with (
        random_state_kept(batches.device),
        batches.generator_kept(),
        evaluating(model),
        torch.no_grad(),
        autocast or nullcontext(),
    ):
        for done, (images, labels) in enumerate(batches.epoch(0), start=1):
            if not len(labels):  # the part of a rank may be empty
                all_labels.append(labels)
                all_predictions.append(labels)
            else:
                outputs = model(images)
                if not num_classes:
                    check_classes(batches, outputs, labels, loss)
                    num_classes = outputs.shape[1] if outputs.ndim == 2 else 1
                tally.add(loss(outputs, labels), outputs, labels)
                if are_classes(outputs, labels):
                    all_labels.append(labels)
                    all_predictions.append(outputs.argmax(1))
            if bar and time.perf_counter() >= bar.next:
                tally.read()
                bar.show(done, tally.count, tally.loss, tally.accuracy)
            if stop():
                break
    tally.read()
    tally = total(batches.ranks, tally)
    if not tally.count:
        raise DataError("the loader gave no images; there is nothing to evaluate")
    if tally.correct is None:
        all_labels, all_predictions = [], []
    return (
        tally,
        in_order(batches.ranks, all_labels),
        in_order(batches.ranks, all_predictions),
        max(batches.ranks.gather(num_classes)),
    )


def check_classes(batches: Batches, outputs: Tensor, labels: Tensor, loss: Loss) -> None:
    """Raise unless the first outputs of a net fit the labels; later batches are held to them."""
    if not isinstance(outputs, Tensor):
        raise ConfigError(
            f"the model returned a {type(outputs).__name__}; it must return one tensor of outputs"
        )
    if len(outputs) != len(labels):
        raise DataError(
            f"the model gave {len(outputs)} outputs for {len(labels)} labels; "
            "it must keep one row for each image"
        )
    if loss is F.cross_entropy and labels.is_floating_point() and labels.shape != outputs.shape:
        raise DataError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}; cross_entropy takes "
            f"int64 class numbers of shape (N,), or probabilities of shape {tuple(outputs.shape)}"
        )
    if outputs.ndim != 2 or labels.is_floating_point() or not is_over_classes(loss):
        return
    num_classes = outputs.shape[1]
    classes = getattr(batches.loader, "classes", None)
    if batches.exact and classes is not None:
        if len(classes) > num_classes:
            raise DataError(
                f"the data have {len(classes)} classes, the net has {num_classes} outputs; "
                f"build the net with num_classes={len(classes)}"
            )
        return
    batches.num_classes = num_classes
    check_labels(labels, num_classes, "the first batch")
