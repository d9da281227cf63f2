"""The order in memory that a net is trained in, chosen by fixed facts, and put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from .events import Callback, Event, each_step, wants_steps
from .optimizers import give_state_the_layout


class Layout:
    """The order in memory of a net's weights, and of what goes with them.

    Attributes:
        nets: the net, and others of the same weights.
        optimizer: whose state follows, None for none.
        is_usual: whether the order is the usual one.
    """

    def __init__(self, model: nn.Module, *, is_usual: bool) -> None:
        self.nets = [model]
        self.optimizer: Optimizer | None = None
        self.is_usual = is_usual

    def order_as_usual(self) -> None:
        """Put all back into the usual order."""
        self._give(torch.contiguous_format)

    def shown_as_usual(self, callback: Callback) -> Callback:
        """A callback in the place of another, who sees the usual order."""

        def call(event: Event) -> object:
            if self.is_usual:
                return callback(event)
            self.order_as_usual()
            try:
                return callback(event)
            finally:
                self._give(torch.channels_last)

        return each_step(call) if wants_steps(callback) else call

    def _give(self, order: torch.memory_format) -> None:
        self.is_usual = order is torch.contiguous_format
        for net in self.nets:
            _give_order(net, order)
        if self.optimizer is not None:
            give_state_the_layout(self.optimizer)


@contextmanager
def fastest_layout(model: nn.Module, device: torch.device, precision: str) -> Iterator[Layout]:
    """Keep the weights of convolutions in channels-last order inside the block, where that pays.

    On a CPU it does for a net with max pooling, which torch does several times faster in that
    order; on a GPU for convolutions in half precision, which its matrix units take so. Weights
    that are in another order than the usual one, or shared with others, stay as they are.
    """
    kernels = [p for p in model.parameters() if p.dim() == 4]
    usual = all(
        p.is_contiguous() and not (p.is_cpu and p.is_shared())  # type: ignore[no-untyped-call]
        for p in kernels
    )
    alone = len({p.data_ptr() for p in kernels}) == len(kernels)
    if not (kernels and usual and alone and _pays(model, device, precision)):
        yield Layout(model, is_usual=True)
        return
    layout = Layout(model, is_usual=False)
    _give_order(model, torch.channels_last)
    try:
        yield layout
    finally:
        layout.order_as_usual()


def _pays(model: nn.Module, device: torch.device, precision: str) -> bool:
    if device.type == "cpu":
        return any(isinstance(module, nn.MaxPool2d) for module in model.modules())
    return device.type == "cuda" and precision != "float32"


def _give_order(model: nn.Module, order: torch.memory_format) -> None:
    tensors: Any = chain(model.parameters(), model.buffers())
    for tensor in tensors:
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=order)
