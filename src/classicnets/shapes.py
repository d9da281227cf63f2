"""Shape arithmetic of convolutions and pools, without tensors and without torch.

A window of F pixels that moves by S over W pixels with P more at each end stands in
floor((W - F + 2P)/S) + 1 places; dilation D spreads its F taps over D(F - 1) + 1 pixels.
Sizes are ints, or (H, W) pairs: what goes in as an int comes out as an int.

LeNet-5 (LeCun et al. 1998, II.B) takes 32 pixels down to one:

>>> conv_output_size(32, 5), pool_output_size(28, 2), conv_output_size(14, 5)
(28, 14, 10)
>>> pool_output_size(10, 2), conv_output_size(5, 5)
(5, 1)

AlexNet's first layer gives the 55 of its paper from 224 pixels only with padding:

>>> conv_output_size(224, 11, stride=4, padding=2)
55
>>> formula(224, 11, stride=4)
'(224 - 11 + 2*0)/4 + 1 = 54.25 -> 54'
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from .errors import ConfigError

__all__ = [
    "ReceptiveField",
    "Window",
    "conv_output_size",
    "dropped_pixels",
    "formula",
    "pool_output_size",
    "receptive_field",
    "same_padding",
    "valid_input_sizes",
]

IntOrPair = int | tuple[int, int]
Size = TypeVar("Size", int, tuple[int, int])


def conv_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Size:
    """Size of the map that `torch.nn.Conv2d` makes: floor((W - F + 2P)/S) + 1.

    Raises:
        ConfigError: an argument out of range, or a window that does not fit.

    Example:
        >>> conv_output_size((224, 320), 5, stride=2, padding=2)
        (112, 160)
        >>> conv_output_size(4, 5)  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        ...
        classicnets.errors.ConfigError: size is 4, the window of 5 does not fit:
            (4 - 5 + 2*0)/1 + 1 = 0; give a size of at least 5, or more padding
    """
    return _like(
        size, [axis.output() for axis in _axes(size, kernel_size, stride, padding, dilation)]
    )


def pool_output_size(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Size:
    """Size of the map that `torch.nn.MaxPool2d` or `AvgPool2d` makes; the stride is the kernel's.

    `ceil_mode` rounds up, so that the last window may hang over the end; as in PyTorch, a window
    that would start beyond the input and its left padding is left out.

    Raises:
        ConfigError: an argument out of range, padding of more than half a window, or a window
            that does not fit.

    Example:
        >>> pool_output_size(55, 3, stride=2), pool_output_size((53, 107), 2)
        (27, (26, 53))
        >>> pool_output_size(112, 3, stride=2), pool_output_size(112, 3, stride=2, ceil_mode=True)
        (55, 56)
    """
    axes = _axes(size, kernel_size, stride, padding, dilation, ceil_mode)
    for axis in axes:
        if axis.padding > axis.kernel_size // 2:
            raise ConfigError(
                f"padding is {padding}, a pool allows at most half its window: kernel_size is "
                f"{kernel_size}, so padding <= {axis.kernel_size // 2}"
            )
    return _like(size, [axis.output() for axis in axes])


def formula(
    size: IntOrPair,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> str:
    """Spell out the arithmetic with its numbers; height and width apart only where they differ.

    Example:
        >>> formula(32, 5)
        '(32 - 5 + 2*0)/1 + 1 = 28'
        >>> formula(112, 3, stride=2, ceil_mode=True)
        '(112 - 3 + 2*0)/2 + 1 = 55.5 -> 56 (ceil)'
        >>> formula((28, 32), 3, dilation=2)
        'H (28 - (2*2 + 1) + 2*0)/1 + 1 = 24, W (32 - (2*2 + 1) + 2*0)/1 + 1 = 28'
    """
    axes = _axes(size, kernel_size, stride, padding, dilation, ceil_mode)
    for axis in axes:
        axis.output()  # raises where nothing fits
    texts = [axis.formula() for axis in axes]
    return texts[0] if len(set(texts)) == 1 else f"H {texts[0]}, W {texts[1]}"


def dropped_pixels(
    size: Size,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Size:
    """How many of the W pixels no window ever reads (None as stride: the kernel's, as in a pool).

    Mostly those left over at the far end; also those that a stride longer than the window skips.
    Padding left over is not counted: it holds no pixel of the picture.

    Example:
        >>> dropped_pixels(224, 11, stride=4), dropped_pixels(227, 11, stride=4)
        (1, 0)
        >>> dropped_pixels(224, 11, stride=4, padding=2), dropped_pixels((53, 52), 2, stride=2)
        (0, (1, 0))
    """
    axes = _axes(size, kernel_size, stride, padding, dilation, ceil_mode)
    return _like(size, [axis.dropped() for axis in axes])


def same_padding(kernel_size: Size, stride: IntOrPair = 1, dilation: IntOrPair = 1) -> Size:
    """The padding that keeps W: P = D(F - 1)/2, at stride 1 and for an odd window.

    Raises:
        ConfigError: no padding keeps W, because the window spans an even number of pixels or
            the stride is not 1.

    Example:
        >>> same_padding(5), same_padding((3, 7)), same_padding(3, dilation=2)
        (2, (1, 3), 2)
    """
    axes = _axes(kernel_size, kernel_size, stride, 0, dilation)
    for axis in axes:
        if axis.stride != 1:
            raise ConfigError(
                f"stride is {stride}: no padding keeps W at another stride than 1; "
                "take stride=1, or conv_output_size to see what W becomes"
            )
        if axis.extent % 2 == 0:
            raise ConfigError(
                f"kernel_size is {kernel_size}, dilation {dilation}: the window spans "
                f"{axis.extent} pixels and 2P = {axis.extent} - 1 has no whole P; "
                "take an odd kernel_size or an even dilation"
            )
    return _like(kernel_size, [axis.extent // 2 for axis in axes])


def valid_input_sizes(
    sizes: Iterable[int], kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> list[int]:
    """Those of `sizes` that fit and leave no pixel behind (see `dropped_pixels`).

    Example:
        >>> valid_input_sizes(range(215, 230), 11, stride=4)
        [215, 219, 223, 227]
    """
    (axis,) = _axes(1, kernel_size, stride, padding, dilation)
    candidates = [replace(axis, size=size) for size in sizes if size >= 1]
    return [axis.size for axis in candidates if axis.fits() and axis.dropped() == 0]


@dataclass(frozen=True)
class Window:
    """One layer of a stack: the window of a convolution or of a pool."""

    kernel_size: IntOrPair
    stride: IntOrPair = 1
    padding: IntOrPair = 0
    dilation: IntOrPair = 1


@dataclass(frozen=True)
class ReceptiveField:
    """What one unit sees: unit i reads the input from start + i*jump, `size` pixels long.

    A negative start lies in the padding.
    """

    size: IntOrPair
    jump: IntOrPair
    start: IntOrPair


def receptive_field(stack: Iterable[Window]) -> list[ReceptiveField]:
    """The receptive field of each layer of a stack, on the input of the first.

    Layers that look at one unit at a time (activations, dropout) change nothing: leave them out.
    The fields are pairs from the first layer on that has a pair among its numbers.

    Example:
        LeNet-5's C1, S2, C3, S4 and C5, the last of which sees the whole image:

        >>> lenet5 = [Window(5), Window(2, stride=2), Window(5), Window(2, stride=2), Window(5)]
        >>> [field.size for field in receptive_field(lenet5)]
        [5, 6, 14, 16, 32]
        >>> receptive_field([Window(11, stride=4, padding=2), Window(3, stride=2)])[-1]
        ReceptiveField(size=19, jump=8, start=-2)
    """
    size: IntOrPair
    fields: list[ReceptiveField] = []
    paired = False
    sizes, jumps, starts = [1, 1], [1, 1], [0, 0]
    for window in stack:
        numbers = (window.kernel_size, window.stride, window.padding, window.dilation)
        paired = paired or any(isinstance(number, tuple) for number in numbers)
        for i, axis in enumerate(_axes((1, 1), *numbers)):
            sizes[i] += (axis.extent - 1) * jumps[i]
            starts[i] -= axis.padding * jumps[i]
            jumps[i] *= axis.stride
        size, jump, start = (
            (values[0], values[1]) if paired else values[0] for values in (sizes, jumps, starts)
        )
        fields.append(ReceptiveField(size, jump, start))
    return fields


@dataclass(frozen=True)
class _Axis:
    """A window along one direction of the picture."""

    name: str
    size: int
    kernel_size: int
    stride: int
    padding: int
    dilation: int
    ceil_mode: bool

    @property
    def extent(self) -> int:
        """Pixels from the first tap to the last."""
        return self.dilation * (self.kernel_size - 1) + 1

    @property
    def room(self) -> int:
        """How far the window can move."""
        return self.size + 2 * self.padding - self.extent

    def places(self) -> int:
        """The formula's value, which is below one where nothing fits."""
        if not self.ceil_mode:
            return self.room // self.stride + 1
        places = -(-self.room // self.stride) + 1
        # PyTorch's rule: the last window starts inside the input or its left padding
        return places - ((places - 1) * self.stride >= self.size + self.padding)

    def fits(self) -> bool:
        return self.places() >= 1

    def output(self) -> int:
        if not self.fits():
            least = self.size + 1
            while not replace(self, size=least).fits():
                least += 1
            raise ConfigError(
                f"{self.name} is {self.size}, the window of {self.extent} does not fit: "
                f"{self.formula()}; give a {self.name} of at least {least}, or more padding"
            )
        return self.places()

    def dropped(self) -> int:
        taps = range(0, self.extent, self.dilation)
        starts = range(-self.padding, self.output() * self.stride - self.padding, self.stride)
        read = {start + tap for start in starts for tap in taps}
        return sum(pixel not in read for pixel in range(self.size))

    def formula(self) -> str:
        window = self.kernel_size
        spread = f"({self.dilation}*{window - 1} + 1)" if self.dilation > 1 else window
        text = f"({self.size} - {spread} + 2*{self.padding})/{self.stride} + 1"
        value, places = self.room / self.stride + 1, self.places()
        if value == places:
            return f"{text} = {places}"
        rounding = ""
        if self.ceil_mode:
            rounding = " (ceil)" if places > value else " (a window more would start outside)"
        return f"{text} = {round(value, 2):g} -> {places}{rounding}"


def _axes(
    size: IntOrPair,
    kernel_size: IntOrPair,
    stride: IntOrPair | None,
    padding: IntOrPair,
    dilation: IntOrPair,
    ceil_mode: bool = False,
) -> list[_Axis]:
    """One axis for an int as size, two for a pair; every number checked."""
    arguments = {
        "kernel_size": kernel_size,
        "size": size,
        "stride": kernel_size if stride is None else stride,
        "padding": padding,
        "dilation": dilation,
    }
    pairs = {name: _pair(name, value) for name, value in arguments.items()}
    for name, value in arguments.items():
        if isinstance(value, tuple) and not isinstance(size, tuple):
            raise ConfigError(
                f"{name} is the pair {value}, but the first argument is the int {size}; "
                f"give that as a pair too: ({size}, {size})"
            )
    names = ("height", "width") if isinstance(size, tuple) else ("size",)
    return [
        _Axis(axis, **{name: pair[i] for name, pair in pairs.items()}, ceil_mode=ceil_mode)
        for i, axis in enumerate(names)
    ]


def _pair(name: str, value: IntOrPair) -> tuple[int, int]:
    """Check one argument and write it as (H, W)."""
    least = 0 if name == "padding" else 1
    try:
        height, width = map(operator.index, value if isinstance(value, tuple) else (value, value))
        if min(height, width) >= least:
            return height, width
    except (TypeError, ValueError):
        pass
    raise ConfigError(
        f"{name} is {value!r}; give an int of at least {least}, or an (H, W) pair of them"
    )


def _like(size: Size, answers: list[int]) -> Size:
    """Answer a pair with a pair and an int with an int."""
    if isinstance(size, tuple):
        return answers[0], answers[1]
    return answers[0]
