"""The order in memory that a net is trained in, chosen by fixed facts, and put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn


@contextmanager
def fastest_layout(model: nn.Module, device: torch.device, precision: str) -> Iterator[bool]:
    """Keep the weights of convolutions in channels-last order inside the block, where that pays.

    The block is told whether it pays. On a CPU it does for a net with max pooling, which torch does
    several times faster in that order; on a GPU for convolutions in half precision, which its
    matrix units take so. Weights that are in another order than the usual one, or shared with
    other processes, stay as they are.
    """
    kernels = [p for p in model.parameters() if p.dim() == 4]
    usual = all(
        p.is_contiguous() and not (p.is_cpu and p.is_shared())  # type: ignore[no-untyped-call]
        for p in kernels
    )
    if not (kernels and usual and _pays(model, device, precision)):
        yield False
        return
    _give_order(model, torch.channels_last)
    try:
        yield True
    finally:
        give_usual_layout(model)


def give_usual_layout(model: nn.Module) -> None:
    """Put weights back into the usual order."""
    _give_order(model, torch.contiguous_format)


def _pays(model: nn.Module, device: torch.device, precision: str) -> bool:
    if device.type == "cpu":
        return any(isinstance(module, nn.MaxPool2d) for module in model.modules())
    return device.type == "cuda" and precision != "float32"


def _give_order(model: nn.Module, order: torch.memory_format) -> None:
    tensors: Any = chain(model.parameters(), model.buffers())
    for tensor in tensors:
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=order)
