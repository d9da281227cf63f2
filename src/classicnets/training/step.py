"""One step of training: forward, loss, backward, update."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ConfigError
from .losses import Loss

_PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class NonFiniteError(ArithmeticError):
    """A loss or a run of gradients that is not finite; `fit` turns it into a DivergedError."""

    def __init__(self, message: str, *, after_update: bool = False) -> None:
        super().__init__(message)
        self.after_update = after_update


class Step:
    """Learns from one batch at a time.

    On the CPU a loss is looked at before its gradients are made, so that a bad one cannot reach
    the weights. A device that would have to be waited for is looked at by `fit`, some steps late.

    Args:
        model: the module, on `device`.
        loss: a callable of (outputs, labels).
        optimizer: over the parameters of `model`.
        device: where the step runs.
        precision: "float32", "bf16" or "fp16" (with a gradient scaler).
        clip_norm: the largest norm of all gradients together, None for no limit.
        accumulate: batches whose gradients are averaged into one update.
        check: called once, with the first outputs and labels.
        average: called before an update whose gradients other ranks do not know yet.
    """

    MOST_SKIPS = 20  # updates in a row that the gradient scaler may skip

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        device: torch.device,
        precision: str = "float32",
        clip_norm: float | None = None,
        accumulate: int = 1,
        check: Callable[[Tensor, Tensor], None] | None = None,
        average: Callable[[], None] | None = None,
    ) -> None:
        if precision not in _PRECISIONS:
            raise ConfigError(
                f"precision is {precision!r}; allowed are {', '.join(map(repr, _PRECISIONS))}"
            )
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self._device = device
        self._dtype = _PRECISIONS[precision]
        self._clip_norm = clip_norm
        self._accumulate = accumulate
        self._looks_at_once = device.type == "cpu"
        self._check = check
        self._average = average
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.waiting = 0  # batches whose gradients wait for their update
        self.skipped = 0  # updates skipped in a row by the scaler
        optimizer.zero_grad(set_to_none=True)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from a batch; return its mean loss and the outputs, both detached.

        Raises:
            NonFiniteError: the loss is NaN or infinite (looked at here on the CPU alone).
        """
        with self.autocast():
            outputs = self._model(images)
            if self._check is not None:
                self._check(outputs, labels)
                self._check = None
            loss = self._loss(outputs, labels)
        if not isinstance(loss, Tensor) or loss.ndim:
            raise ConfigError(
                "the loss must return one number, the mean over the batch, as a tensor; "
                "a torch loss does with reduction='mean'"
            )
        if self._looks_at_once and not math.isfinite(loss.item()):
            raise NonFiniteError(f"the loss is {loss.item()}")
        part = loss / self._accumulate if self._accumulate > 1 else loss
        self.scaler.scale(part).backward()  # type: ignore[no-untyped-call]
        self.waiting += 1
        if self.waiting == self._accumulate:
            self._update()
        return loss.detach(), outputs.detach()

    def finish_epoch(self) -> bool:
        """Make the update that a last, smaller group of batches waits for; return whether any."""
        if not self.waiting:
            return False
        if self._average is not None:
            self._average()
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(self._accumulate / self.waiting)
        self._update()
        return True

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which outputs and losses are computed."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)

    def _update(self) -> None:
        self.waiting = 0
        if self._clip_norm is not None:
            self.scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(
                (p for group in self._optimizer.param_groups for p in group["params"]),
                self._clip_norm,
            )
        if not self.scaler.is_enabled():
            self._optimizer.step()
        else:
            self._update_scaled()
        self._optimizer.zero_grad(set_to_none=True)

    def _update_scaled(self) -> None:
        before = self.scaler.get_scale()
        self.scaler.step(self._optimizer)
        self.scaler.update()
        self.skipped = self.skipped + 1 if self.scaler.get_scale() < before else 0
        if self.skipped >= self.MOST_SKIPS:
            raise NonFiniteError(
                f"the gradients were not finite in {self.skipped} updates in a row"
            )
