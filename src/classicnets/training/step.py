"""One step of training: forward, loss, backward, update."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ConfigError
from .captured_step import CapturedStep, Learn
from .levenberg_marquardt import SAMPLES, DiagonalLM
from .losses import Loss
from .module_state import attributes, changes, put_back
from .optimizers import give_gradients_their_layout
from .pattern_steps import PatternStep
from .random_state import random_state, set_random_state

_Check = Callable[[Tensor, Tensor], None]

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
        share: called before an update whose gradients other ranks do not know yet.
        order_as_usual: called if the net cannot take its weights in the order that they are in.
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
        check: _Check | None = None,
        share: Callable[[], None] | None = None,
        order_as_usual: Callable[[], None] | None = None,
    ) -> None:
        if precision not in _PRECISIONS:
            raise ConfigError(
                f"precision is {precision!r}; allowed are {', '.join(map(repr, _PRECISIONS))}"
            )
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self.take_parameters()
        self._is_fused = any(group.get("fused") for group in optimizer.param_groups)
        self._device = device
        self._dtype = _PRECISIONS[precision]
        self._clip_norm = clip_norm
        self._accumulate = accumulate
        self._looks_at_once = device.type == "cpu"
        self._check = check
        self._share = share
        self._order_as_usual = order_as_usual
        self._run: Callable[[Tensor, Tensor], tuple[Tensor | float, Tensor]] = self._learn
        self._is_scaled = precision == "fp16"
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._is_scaled)
        self._scale = self._scaler.get_scale()  # after the last update
        self._skipped = 0  # updates skipped in a row by the scaler
        self.waiting = 0  # batches whose gradients wait for their update
        self._clear_gradients()

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor | float, Tensor]:
        """Learn from a batch; return its mean loss and the outputs, detached.

        The loss is a number on the CPU; elsewhere it is left on the device.

        Raises:
            NonFiniteError: the loss is NaN or infinite (looked at here on the CPU alone).
        """
        if self._order_as_usual is None:
            return self._run(images, labels)
        order_as_usual, self._order_as_usual = self._order_as_usual, None
        return self._first(images, labels, order_as_usual)

    def _first(
        self, images: Tensor, labels: Tensor, order_as_usual: Callable[[], None]
    ) -> tuple[Tensor | float, Tensor]:
        """The first step, once more with weights in the usual order if it fails.

        A net or loss that calls `view` on maps, as tutorials do, cannot have them in channels-last
        order. What the failing step changed is put back.
        """
        random, check, former = random_state(self._device), self._check, attributes(self._model)
        values = [(x, x.clone()) for _, x in former.values() if isinstance(x, Tensor)]
        try:
            return self._run(images, labels)
        except RuntimeError:
            put_back(changes(self._model, former))
            with torch.no_grad():
                for tensor, value in values:
                    tensor.copy_(value)
            set_random_state(random, self._device)
            self._forget()
            self._check = check
            order_as_usual()
        return self._run(images, labels)

    def begin_epoch(self, images: Tensor, labels: Tensor) -> None:
        """Estimate anew, from the first batch, what the optimizer of 1998 knows of the loss."""
        if isinstance(self._optimizer, DiagonalLM):
            self._check_outputs(images, labels)
            samples = images[:SAMPLES], labels[:SAMPLES]
            self._optimizer.estimate(self._model, self._loss, *samples)

    def go_online(self) -> None:
        """Learn from now on from each picture of a batch by itself, with an update after each."""
        self._run = self._begin_online

    def end(self) -> None:
        """Let go of what runs the steps: the two hold each other, and with them the net."""
        del self._run

    def _begin_online(self, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        shape = tuple(images.shape[1:])
        patterns = PatternStep(self._model, self._loss, self._optimizer, input_shape=shape)

        def learn(images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
            loss, outputs = patterns(images, labels)
            if not math.isfinite(loss):
                raise NonFiniteError(f"the loss is {loss}", after_update=True)
            return loss, outputs

        self._check_outputs(images, labels)
        self._run = learn
        return learn(images, labels)

    def capture(self) -> None:
        """Run the steps from now on as a CUDA graph, captured after the first few."""
        learn = cast("Learn", self._learn)
        self._run = CapturedStep(learn, self._model, self._optimizer, self._forget, self._device)

    def take_parameters(self) -> None:
        """Look anew at what the optimizer trains, which a callback may have changed."""
        self._parameters = [p for group in self._optimizer.param_groups for p in group["params"]]

    def _forget(self) -> None:
        self.waiting = 0
        self._clear_gradients()

    def _learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor | float, Tensor]:
        if self._dtype is None:
            loss, outputs = self._forward(images, labels)
        else:
            with self.autocast():
                loss, outputs = self._forward(images, labels)
        value: Tensor | float = loss.item() if self._looks_at_once else loss.detach()
        if self._looks_at_once and not math.isfinite(value):
            raise NonFiniteError(f"the loss is {value}")
        if self._accumulate > 1:
            loss = loss / self._accumulate
        if self._is_scaled:
            loss = self._scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]
        self.waiting += 1
        if self.waiting == self._accumulate:
            self._update()
        return value, outputs.detach()

    @torch.no_grad()
    def _check_outputs(self, images: Tensor, labels: Tensor) -> None:
        if self._check is not None:
            self._check(self._model(images), labels)
            self._check = None

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
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
        return loss, outputs

    def finish_epoch(self) -> bool:
        """Make the update that a last, smaller group of batches waits for; return whether any."""
        if not self.waiting:
            return False
        if self._share is not None:
            self._share()
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(self._accumulate / self.waiting)
        self._update()
        return True

    def state(self) -> dict[str, Any]:
        """Return what a later process needs of the gradient scaler to go on."""
        return {"scaler": self._scaler.state_dict(), "skipped": self._skipped}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._scaler.load_state_dict(state["scaler"])
        self._scale, self._skipped = self._scaler.get_scale(), state["skipped"]

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which outputs and losses are computed."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)

    def _update(self) -> None:
        self.waiting = 0
        if self._clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        if self._is_fused:
            give_gradients_their_layout(self._parameters)
        if not self._is_scaled:
            self._optimizer.step()
        else:
            self._update_scaled()
        self._clear_gradients()

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _update_scaled(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()
        before, self._scale = self._scale, self._scaler.get_scale()
        self._skipped = self._skipped + 1 if self._scale < before else 0
        if self._skipped >= self.MOST_SKIPS:
            raise NonFiniteError(
                f"the gradients were not finite in {self._skipped} updates in a row"
            )
