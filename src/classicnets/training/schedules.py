"""How the learning rate moves while a net trains."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..errors import ConfigError
from .history import EpochRecord


class Stepped(Protocol):
    """What fit needs of a schedule: torch's schedulers and RateCurve have it."""

    def step(self) -> None:
        """Move on by one batch or one epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on from here."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from a saved state."""


Schedule = Stepped | ReduceLROnPlateau  # the second wants to be told the loss
ScheduleChoice = (
    str | Sequence[float] | LRScheduler | ReduceLROnPlateau | Callable[[Optimizer, int], Stepped]
)


def one_cycle(t: float) -> float:
    """Rise from 1/25 to 1 over the first 30 % by a cosine, then fall to 1/250,000 by another.

    The curve of L. N. Smith and N. Topin, "Super-Convergence" (2018), as torch's OneCycleLR draws
    it, without its cycling of momentum.
    """
    start, end, peak_at = 1 / 25, 1 / 250_000, 0.3
    if t < peak_at:
        return 1 + (start - 1) * (1 + math.cos(math.pi * t / peak_at)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * (t - peak_at) / (1 - peak_at))) / 2


def cosine(t: float) -> float:
    """Fall from 1 to 0 by half a cosine (Loshchilov and Hutter, "SGDR", 2017, without restarts)."""
    return (1 + math.cos(math.pi * t)) / 2


def thirds(t: float) -> float:
    """Divide by ten after each third of the steps."""
    return 10.0 ** -min(2, int(3 * t))


_CURVES: dict[str, Callable[[float], float]] = {
    "onecycle": one_cycle,
    "cosine": cosine,
    "step": thirds,
}


class RateCurve:
    """A learning rate that follows a curve of the part of all steps that is done.

    The rate depends on nothing but the number of the step, so a run that is resumed with more
    epochs follows the curve of the longer run from there on.

    Args:
        optimizer: its groups' rates are multiplied by the curve.
        curve: from the part done, 0..1, to a factor.
        total_steps: the steps that make the whole, at least 1.
    """

    def __init__(
        self, optimizer: Optimizer, curve: Callable[[float], float], total_steps: int
    ) -> None:
        self._optimizer = optimizer
        self._curve = curve
        self._total_steps = total_steps
        self._peak_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._steps_done = 0
        self._set_rates()

    def step(self) -> None:
        """Move on by one batch."""
        self._steps_done += 1
        self._set_rates()

    def restore(self) -> None:
        """Put the rates back to the curve's height of 1, so that a later run begins there."""
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            _set_rate(group, peak)

    def _set_rates(self) -> None:
        factor = self._curve(min(1.0, self._steps_done / self._total_steps))
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            _set_rate(group, peak * factor)

    def state_dict(self) -> dict[str, Any]:
        """Return the steps done and the rates at the curve's height of 1."""
        return {"steps_done": self._steps_done, "peak_rates": self._peak_rates}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from a saved state."""
        self._steps_done = state_dict["steps_done"]
        self._peak_rates = list(state_dict["peak_rates"])
        self._set_rates()


class EpochRates:
    """A learning rate for each epoch, written down; the last is that of all epochs after it.

    Args:
        optimizer: all its groups get these rates.
        rates: the rate of each epoch, above 0.
    """

    def __init__(self, optimizer: Optimizer, rates: Sequence[float]) -> None:
        if not rates or not all(isinstance(rate, int | float) and rate > 0 for rate in rates):
            raise ConfigError(
                f"schedule is {list(rates)}; give the learning rate of each epoch, all above 0"
            )
        self._optimizer = optimizer
        self._own_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._rates = list(rates)
        self._epochs_done = 0
        self._set_rates()

    def step(self) -> None:
        """Move on by one epoch."""
        self._epochs_done += 1
        self._set_rates()

    def _set_rates(self) -> None:
        for group in self._optimizer.param_groups:
            _set_rate(group, self._rates[min(self._epochs_done, len(self._rates) - 1)])

    def restore(self) -> None:
        """Put back the rates that the optimizer came with."""
        for group, rate in zip(self._optimizer.param_groups, self._own_rates, strict=True):
            _set_rate(group, rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs done."""
        return {"epochs_done": self._epochs_done}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from a saved state."""
        self._epochs_done = state_dict["epochs_done"]
        self._set_rates()


def _set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the rate of a group where the optimizer, and a captured step, will look for it."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def plateau_measure(record: EpochRecord, mode: str) -> float:
    """What ReduceLROnPlateau looks at: the loss or, where more is better, the accuracy."""
    if mode == "min":
        return record.train_loss if record.val_loss is None else record.val_loss
    found = record.train_accuracy if record.val_loss is None else record.val_accuracy
    if found is None:
        raise ConfigError(
            "the schedule is a ReduceLROnPlateau with mode='max', but there is no accuracy to "
            "look at: labels are no classes; make it with mode='min' for the loss"
        )
    return found


def build_schedule(
    choice: ScheduleChoice | None, optimizer: Optimizer, total_steps: int | None
) -> tuple[Schedule | None, bool]:
    """Return the schedule and whether it is stepped per batch.

    Args:
        choice: None, a name ("onecycle", "cosine", "step"), the rate of each epoch, a torch
            scheduler (stepped per epoch), or a callable of (optimizer, total_steps) (stepped per
            batch).
        optimizer: the optimizer whose rate moves.
        total_steps: updates of the whole run, None when the loader has no length.

    Raises:
        ConfigError: unknown name, or a schedule by batch over a loader without a length.
    """
    if choice is None:
        return None, False
    if isinstance(choice, LRScheduler | ReduceLROnPlateau):
        if choice.optimizer is not optimizer:
            raise ConfigError(
                "the schedule belongs to another optimizer than the one that trains; "
                "give fit the optimizer that the schedule was made with"
            )
        return choice, False
    if isinstance(choice, Sequence) and not isinstance(choice, str):
        return EpochRates(optimizer, choice), False
    if isinstance(choice, str) and choice not in _CURVES:
        raise ConfigError(
            f"schedule is {choice!r}; allowed are {', '.join(map(repr, _CURVES))}, the rate of "
            "each epoch, a torch scheduler, or a callable of (optimizer, total_steps)"
        )
    if total_steps is None:
        raise ConfigError(
            "this schedule needs the number of batches, but the loader has no len(); "
            "give a loader with a length, or a torch scheduler, which is stepped per epoch"
        )
    if isinstance(choice, str):
        return RateCurve(optimizer, _CURVES[choice], total_steps), True
    if not callable(choice):
        raise ConfigError(f"schedule is {choice!r}; give a name, a torch scheduler or a callable")
    return choice(optimizer, total_steps), True
