"""The loop over epochs and batches, and all of its state."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import DivergedError
from .batches import Batches
from .distributed import share_buffers, total
from .evaluate import score
from .events import Callback, Event, wants_steps
from .history import EpochRecord, History
from .interruption import Interruption
from .losses import Loss
from .optimizers import load_optimizer_state
from .progress import Progress
from .random_state import random_state, set_random_state
from .schedules import Schedule, plateau_measure
from .step import NonFiniteError, Step
from .tally import Tally
from .weight_guard import WeightGuard, copy_weights


@dataclass
class Best:
    """The best epoch so far."""

    epoch: int
    accuracy: float | None
    loss: float
    weights: dict[str, Any]

    def beaten_by(self, accuracy: float | None, loss: float, monitor: str) -> bool:
        """Return whether another epoch's figures are better: by one, ties by the other."""
        others = accuracy or 0.0, -_worst_if_nan(loss)
        mine = self.accuracy or 0.0, -_worst_if_nan(self.loss)
        return others[::-1] > mine[::-1] if monitor == "loss" else others > mine


class Loop:
    """A training run in progress. Its state is whole between any two updates.

    Attributes:
        epoch: epochs finished.
        batch: batches done in the current epoch; all of them while it is being validated.
        steps: batches done since training began.
        seconds: spent on the current epoch.
        rate: learning rate of the last update.
        tally: sums over the current epoch.
        history: what `fit` returns.
        best: the best epoch, None before the first validation.
        stale: epochs since the best.
        average: moving average of the weights, None without one.
        save: called with this loop, and True after an epoch that is the best so far, else False.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        step: Step,
        optimizer: Optimizer,
        train: Batches,
        val: Batches | None,
        *,
        loss: Loss,
        schedule: Schedule | None,
        schedule_by_batch: bool,
        average: float | None,
        monitor: str,
        early_stopping: int | None,
        callbacks: Sequence[Callback],
        save_every: int | None,
        interruption: Interruption,
        bar: Progress,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.step = step
        self.train = train
        self._ranks = train.ranks
        self.epoch = 0
        self.batch = 0
        self.steps = 0
        self.seconds = 0.0
        self.rate: float | Tensor = math.nan
        self.tally = Tally()
        self.history = History()
        self.best: Best | None = None
        self.stale = 0
        self.save: Callable[[Loop, bool], None] = lambda loop, best: None
        self._val = val
        self._loss = loss
        self._schedule_by_batch = schedule_by_batch
        self.average: AveragedModel | None = None
        if average is not None:
            mean = get_ema_multi_avg_fn(average)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=mean)
        self._steps_schedule = schedule_by_batch and schedule is not None
        self._monitor = monitor
        self._early_stopping = early_stopping
        self._callbacks = callbacks
        self._step_callbacks = [callback for callback in callbacks if wants_steps(callback)]
        self._save_every = save_every
        self._interruption = interruption
        self._bar = bar
        self._warned = False
        self._guard: WeightGuard  # from the first step on

    def run(self, epochs: int) -> History:
        """Train until `epochs` epochs are done or something ends the run early."""
        former_modes = [(module, module.training) for module in self.model.modules()]
        try:
            self._guard = WeightGuard(self.model)
            self._guard.keep(self.steps)
            while self.epoch < epochs and self.history.stopped is None:
                if self._early_stopping is not None and self.stale >= self._early_stopping:
                    self.history.stopped = "early stopping"
                else:
                    self._one_epoch(epochs)
            if self._interruption.received is not None and self.history.stopped is None:
                self._mark_interrupted()
        except NonFiniteError as error:
            raise self._diverged(error) from None
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            for module, mode in former_modes:
                module.training = mode
        if self.best is not None:
            self.history.best_epoch = self.best.epoch
            self.model.load_state_dict(self.best.weights)
        elif self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        return self.history

    def _one_epoch(self, epochs: int) -> None:
        self._train_one_epoch(f"epoch {self.epoch + 1}/{epochs}")
        if self._interrupted():
            return
        share_buffers(self._ranks, self.model)
        if self.average is not None:
            share_buffers(self._ranks, self.average.module)
        self._guard.keep(self.steps)
        self._warn_if_stuck()
        val = self._validate()
        if self._interrupted():
            return
        tally, seconds = total(self._ranks, self.tally), self._ranks.first(lambda: self.seconds)
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=tally.loss,
            train_accuracy=tally.accuracy,
            val_loss=val.loss if val else None,
            val_accuracy=val.accuracy if val else None,
            lr=float(self.rate),
            seconds=seconds,
            images_per_second=tally.count / max(seconds, 1e-9),
        )
        self.history.epochs.append(record)
        self._bar.record(record, epochs)
        is_best = val is not None and self._rank(val)
        self._step_schedule_by_epoch(record)
        self.epoch, self.batch, self.seconds, self.tally = self.epoch + 1, 0, 0.0, Tally()
        self.save(self, is_best)
        event = self._event("epoch", record.train_loss)
        self._tell(self._callbacks, event)

    def _train_one_epoch(self, heading: str) -> None:
        self.model.train()
        self._bar.start(heading, self.train.count)
        step, bar, interruption = self.step, self._bar, self._interruption
        groups, clock = self.optimizer.param_groups, time.perf_counter
        rate_moves = self._steps_schedule or bool(self._step_callbacks)
        began = clock() - self.seconds
        batches = self.train.epoch(self.epoch, self.batch)
        seen_before = self.tally.count
        ended = False
        while True:
            try:
                images, labels = next(batches)
            except StopIteration:
                ended = True
                break
            except Exception:
                self._read()
                if not step.waiting:
                    self._guard.check()
                    self.save(self, False)
                raise
            if not self.batch:
                step.begin_epoch(images, labels)
            loss, outputs = step(images, labels)
            self.batch += 1
            self.steps += 1
            now = clock()
            self.seconds = now - began
            if self.tally.add(loss, outputs, labels):
                self._take_losses()
            if not step.waiting:
                rate = groups[0]["lr"]
                self.rate = rate.clone() if rate_moves and isinstance(rate, Tensor) else rate
                self._follow_update()
                if interruption.received:
                    break
                if self._save_every is not None:
                    self._save_if_due()
            if self._step_callbacks:
                self._tell(self._step_callbacks, self._event("step", float(loss)))
                if self.history.stopped is not None and not step.waiting:
                    break
            if now >= bar.next:
                if self._ranks.alone:  # else all read at the same batches
                    self._read()
                seen = (self.tally.count - seen_before) * self._ranks.world_size
                bar.show(self.batch, seen, self.tally.loss, self.tally.accuracy)
        self._read()
        if ended and step.finish_epoch():
            self.rate = self._rate()
            self._follow_update()
        self.rate = float(self.rate)
        self.seconds = clock() - began

    def _save_if_due(self) -> None:
        due = self._save_every is not None and self.batch % self._save_every == 0
        if due and self.batch != self.train.count:  # the epoch's end saves by itself
            self._read()
            self._guard.check()
            self.save(self, False)

    def _tell(self, callbacks: Sequence[Callback], event: Event) -> None:
        answers = [callback(event) for callback in callbacks]
        if any(isinstance(answer, bool | np.bool_) and answer for answer in answers):
            self.history.stopped = "callback"
        if answers:
            self.step.take_parameters()

    def _event(self, kind: Any, loss: float) -> Event:
        epoch = self.epoch if kind == "epoch" else self.epoch + 1
        return Event(kind, epoch, self.steps, loss, self.model, self.optimizer, self.history)

    def _interrupted(self) -> bool:
        """Return whether the run must end in the middle of the epoch, its state being saved."""
        if self._interruption.received is None and self.history.stopped is None:
            return False
        if self._interruption.received is not None:
            self._mark_interrupted()
        self._guard.check()
        self.save(self, False)
        return True

    def _mark_interrupted(self) -> None:
        self.history.stopped = self._interruption.received
        self.history.interrupted = True

    def _validate(self) -> Tally | None:
        if self._val is None:
            return None
        tally, *_ = score(
            self.model if self.average is None else self.average.module,
            self._val,
            self._loss,
            autocast=self.step.autocast(),
            stop=lambda: self._interruption.received is not None,
        )
        return tally

    def _rank(self, val: Tally) -> bool:
        self.stale += 1
        if self.best is not None and not self.best.beaten_by(val.accuracy, val.loss, self._monitor):
            return False
        weights = self._guard.kept if self.average is None else copy_weights(self.average.module)
        self.best = Best(self.epoch + 1, val.accuracy, val.loss, weights)
        self.stale = 0
        return True

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _follow_update(self) -> None:
        """Bring the average of the weights and the schedule up to an update."""
        if self.average is not None:
            self.average.update_parameters(self.model)
        if self._steps_schedule:
            self.schedule.step()  # type: ignore[call-arg, union-attr]

    def _step_schedule_by_epoch(self, record: EpochRecord) -> None:
        if self.schedule is None or self._schedule_by_batch:
            return
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(plateau_measure(record, self.schedule.mode))
        else:
            self.schedule.step()

    def _read(self) -> None:
        self.tally.read()
        self._take_losses()

    def _take_losses(self) -> None:
        for value in self.tally.losses:
            if not math.isfinite(value):
                self.tally.losses.clear()
                raise NonFiniteError(f"the loss is {value}")
            self.history.step_losses.append(value)
        self.tally.losses.clear()
        if self.train.device.type != "cpu":
            self._guard.keep(self.steps)

    def _diverged(self, reason: NonFiniteError) -> DivergedError:
        with suppress(NonFiniteError):
            self._read()
        step = len(self.history.step_losses) + (0 if reason.after_update else 1)
        finite = f"{self.history.step_losses[-1]:.6g}" if self.history.step_losses else "none"
        error = DivergedError(
            f"{reason} at step {step} (epoch {self.epoch + 1}), learning rate {self._rate():g}, "
            f"last finite loss {finite}; {self._guard.restore()}. Lower the learning rate, set "
            "clip_norm, or look for NaN in the images and labels"
        )
        error.history = self.history
        return error

    def _warn_if_stuck(self) -> None:
        classes = self.train.num_classes or len(getattr(self.train.loader, "classes", ()))
        if self._loss is not F.cross_entropy or classes < 2 or self._warned:
            return
        chance = math.log(classes)
        losses = self.history.step_losses[-self.batch :]
        halves = losses[: len(losses) // 2], losses[len(losses) // 2 :]
        means = [sum(half) / max(1, len(half)) for half in halves]
        learning = means[0] - means[1] > 0.0025 * chance
        if not learning and all(abs(mean - chance) <= 0.01 * chance for mean in means):
            self._warned = True
            warnings.warn(
                f"the loss stayed within 1 % of ln({classes}) = {chance:.4f} for the whole of "
                f"epoch {self.epoch + 1}: the net answers by chance. Likely causes: a learning "
                f"rate that is too small or too large (it is {self._rate():g}), an initialisation "
                "that this rate cannot leave, a softmax inside the net, or labels that do not "
                "belong to the images",
                UserWarning,
                stacklevel=7,
            )

    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to go on from here with the same bits."""
        self._read()
        history = self.history.to_dict()
        history["step_losses"] = torch.tensor(self.history.step_losses, dtype=torch.float64)
        history["interrupted"], history["stopped"] = False, None
        best = None
        if self.best is not None:
            best = {**asdict(self.best), "weights": dict(self.best.weights)}
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
            **self.step.state(),
            "random": random_state(self.train.device),
            "loader": self.train.state_dict(),
            "epoch": self.epoch,
            "batch": self.batch,
            "steps": self.steps,
            "seconds": self.seconds,
            "rate": float(self.rate),
            "tally": self.tally.state_dict(),
            "history": history,
            "best": best,
            "stale": self.stale,
            "warned": self._warned,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.step.load_state(state)
        set_random_state(state["random"], self.train.device)
        self.train.load_state_dict(state["loader"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.steps, self.seconds, self.rate = state["steps"], state["seconds"], state["rate"]
        self.tally.load_state_dict(state["tally"])
        losses = state["history"]["step_losses"].tolist()
        self.history = History.from_dict({**state["history"], "step_losses": losses})
        self.best = Best(**state["best"]) if state["best"] else None
        self.stale, self._warned = state["stale"], state["warned"]


def _worst_if_nan(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss
