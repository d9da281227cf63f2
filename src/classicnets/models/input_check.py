"""The check that every net makes of its images before it computes anything."""

from typing import Any, NamedTuple, Protocol

import torch.fx
from torch import Tensor, nn

from ..errors import ConfigError
from ..shapes import conv_output_size, formula

__all__ = ["InputRule", "check", "input_rule"]


class InputRule(NamedTuple):
    """What images a net takes, and the windows that make it so."""

    net: str
    channels: int
    channels_option: bool
    standard: tuple[int, int]
    smallest: int
    largest: int | None
    windows: tuple[tuple[str, int, int, int], ...]  # (name, kernel_size, stride, padding)


class _Net(Protocol):
    input_shape: tuple[int, int, int]
    options: dict[str, object]


def input_rule(net: _Net, features: nn.Sequential, last_map: int | None) -> InputRule:
    """Derive from the windows in `features` which sizes give a last map of that side.

    With None any last map will do, and only the smallest size is bounded.
    """
    windows = tuple(
        (name, _one(layer.kernel_size), _one(layer.stride), _one(layer.padding))
        for name, layer in features.named_children()
        if hasattr(layer, "kernel_size")
    )
    smallest = largest = last_map or 1
    for _, kernel_size, stride, padding in reversed(windows):
        smallest = (smallest - 1) * stride + kernel_size - 2 * padding
        largest = largest * stride + kernel_size - 1 - 2 * padding
    return InputRule(
        net=type(net).__name__,
        channels=net.input_shape[0],
        channels_option="in_channels" in net.options,
        standard=net.input_shape[1:],
        smallest=smallest,
        largest=largest if last_map else None,
        windows=windows,
    )


@torch.fx.wrap
def check(images: Tensor, rule: InputRule) -> Tensor:
    """Return the images, or raise ConfigError with what is wrong and how to mend it.

    Being wrapped, it stays one call in a symbolic trace. That works where it is called as
    `input_check.check`, and the images returned are used: fx drops a call without effect.
    """
    if (
        isinstance(images, Tensor)
        and images.dim() == 4
        and images.shape[1] == rule.channels
        and _fits(images.shape[2], rule)
        and _fits(images.shape[3], rule)
        and images.is_floating_point()
        and images.shape[0] > 0
    ):
        return images
    raise ConfigError(_complaint(images, rule))


def _fits(size: int, rule: InputRule) -> bool:
    return size >= rule.smallest and (rule.largest is None or size <= rule.largest)


def _complaint(images: Any, rule: InputRule) -> str:
    height, width = rule.standard
    takes = f"{rule.net} takes float tensors of shape (N, {rule.channels}, {height}, {width})"
    if not isinstance(images, Tensor):
        return f"images are a {type(images).__name__}, {takes}; convert with torch.as_tensor"
    if images.dim() != 4:
        remedy = "reshape them" if images.dim() != 3 else "images[None] makes one image a batch"
        return f"images have shape {tuple(images.shape)}, {takes}; {remedy}"
    count, channels, *sizes = images.shape
    if channels != rule.channels:
        option = f", or build {rule.net}(in_channels={channels})" if rule.channels_option else ""
        return f"images have {channels} channels, {takes}; convert them to {rule.channels}{option}"
    for size in sizes:
        if not _fits(size, rule):
            return _size_complaint(sizes, size, rule)
    if not images.is_floating_point():
        return (
            f"images are {images.dtype}, {takes}; pixels of 0..255 become floats of 0..1 with "
            "images.float() / 255"
        )
    return f"images are an empty batch of shape {(count, channels, *sizes)}, {takes}; give N >= 1"


def _size_complaint(sizes: list[int], size: int, rule: InputRule) -> str:
    smallest, largest = rule.smallest, rule.largest
    allowed = f"{smallest}x{smallest} or more"
    if largest is not None:
        allowed = f"{smallest}x{smallest} to {largest}x{largest}"
    arithmetic = []
    last = rule.standard[0]
    for name, kernel_size, stride, padding in rule.windows:
        try:
            arithmetic.append(f"{name} {formula(size, kernel_size, stride, padding)}")
        except ConfigError:
            arithmetic.append(f"{name} cannot place its window of {kernel_size} in {size}")
            break
        size = conv_output_size(size, kernel_size, stride, padding)
        last = conv_output_size(last, kernel_size, stride, padding)
    else:
        arithmetic.append(f"and {last} is needed")
    return (
        f"image is {sizes[0]}x{sizes[1]}, {rule.net} takes {allowed}; resize it to "
        f"{rule.standard[0]}x{rule.standard[1]}. By (W - F + 2P)/S + 1: {', '.join(arithmetic)}"
    )


def _one(value: Any) -> int:
    """The number of a square window, which torch keeps as a pair or as an int."""
    return int(value[0] if isinstance(value, tuple) else value)
