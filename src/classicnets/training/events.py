"""What a callback is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.optim import Optimizer

from .history import History


@dataclass(frozen=True)
class Event:
    """Something that happened in `fit`.

    Attributes:
        kind: "epoch" at the end of an epoch, its validation included; "step" after a batch.
        epoch: number of the epoch, from 1.
        step: batches done since training began.
        loss: of the batch for a "step"; mean over the epoch's images for an "epoch".
        model: the module that trains; changing it changes the run.
        optimizer: the optimizer that trains it.
        history: the history so far; for an "epoch" its last record is that epoch's.
    """

    kind: Literal["epoch", "step"]
    epoch: int
    step: int
    loss: float
    model: torch.nn.Module
    optimizer: Optimizer
    history: History


Callback = Callable[[Event], object]


def each_step(callback: Callback) -> Callback:
    """Mark a callback as one that is told of each step too, not of epochs alone.

    Example:
        >>> losses = []
        >>> @each_step
        ... def watch(event):
        ...     losses.append(event.loss)
    """
    callback.each_step = True  # type: ignore[attr-defined]
    return callback


def wants_steps(callback: Callback) -> bool:
    """Return whether `each_step` marked the callback."""
    return bool(getattr(callback, "each_step", False))
