"""Where in a picture a net finds its answer: what happens when a part is hidden, and gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor, nn

from ..errors import ConfigError
from ..evaluation_mode import evaluating
from .stages import as_input, as_seen, class_name
from .style import (
    SHADES,
    SMALL_TEXT,
    TEXT,
    WIDTH,
    Pixels,
    bare,
    new_figure,
    percent,
    shortened,
    show,
)

__all__ = ["gradient", "occlusion"]

_BATCH = 64  # hidden places looked at together
_LEAST_SPAN = 0.01  # of probability, from the darkest to the brightest shade


def occlusion(
    model: nn.Module,
    image: Any,
    *,
    classes: Sequence[str] | None = None,
    label: int | None = None,
    patch: int | None = None,
    stride: int | None = None,
    fill: float = 0.0,
) -> Figure:
    """Draw how probable the class stays while a square hides one part of the picture after another.

    A pixel bears the mean over all squares that hide it. The dashed square is the one that harms
    the class most.

    Paper: Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
    section 4.2.

    Args:
        model: the net, which stays as it is.
        image: one picture as the net takes it, (C, H, W) or (1, C, H, W); or, where the net has its
            `preparation`, a path or a PIL image.
        classes: the names of the outputs.
        label: the class to ask for, by number; None for the one the net predicts.
        patch: side of the square in pixels; None for a quarter of the picture's shorter side.
        stride: pixels from one square to the next; None for a quarter of the square.
        fill: what hides, as the net takes it; 0 is the mean of normalised pictures.

    Raises:
        ConfigError: it is not one picture, or an argument lies outside it.
    """
    images = as_input(model, image)
    height, width = images.shape[2:]
    shorter = min(height, width)
    patch = _whole("patch", patch if patch is not None else max(1, shorter // 4), 1, shorter)
    stride = _whole("stride", stride if stride is not None else max(1, patch // 4), 1, patch)
    tops, lefts = _starts(height, patch, stride), _starts(width, patch, stride)
    places = [(top, left) for top in tops for left in lefts]
    with evaluating(model), torch.inference_mode():
        whole = _probabilities(model, images)[0]
        label = _checked_label(label, whole)
        before = float(whole[label])
        shares: list[float] = []
        for first in range(0, len(places), _BATCH):
            hidden = images.repeat(len(places[first : first + _BATCH]), 1, 1, 1)
            for picture, (top, left) in zip(hidden, places[first : first + _BATCH], strict=True):
                picture[:, top : top + patch, left : left + patch] = fill
            shares += _probabilities(model, hidden)[:, label].tolist()

    total, seen = np.zeros((height, width)), np.zeros((height, width))
    for share, (top, left) in zip(shares, places, strict=True):
        total[top : top + patch, left : left + patch] += share
        seen[top : top + patch, left : left + patch] += 1
    top, left = places[int(np.argmin(shares))]
    name = shortened(class_name(classes, label))
    figure, panels = _two_panels(
        f"{name}: {percent(before)}, hidden at worst {percent(min(shares))}"
    )
    show(panels[0], as_seen(model, images))
    means = total / seen
    high = max(before, float(means.max()))
    shades = _shaded(panels[1], means, min(float(means.min()), high - _LEAST_SPAN), high)
    for axes in panels:
        for colour, dashes in (("black", "-"), ("white", (0, (3, 3)))):
            axes.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5),
                    patch,
                    patch,
                    fill=False,
                    edgecolor=colour,
                    linestyle=dashes,
                    linewidth=1.5,
                )
            )
    panels[1].set_title("hidden here", fontsize=SMALL_TEXT)
    _bar(figure, shades, panels[1], f"mean probability of {name}", percentage=True)
    return figure


def gradient(
    model: nn.Module,
    image: Any,
    *,
    classes: Sequence[str] | None = None,
    label: int | None = None,
) -> Figure:
    """Draw how much the output of a class changes with each pixel: the size of the gradient.

    Of a colour picture the largest over the channels; 1 is the 99.5th percentile, which hides no
    more than a few pixels.

    Paper: Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", arXiv 1312.6034,
    2013, section 3.1.

    Args:
        model: the net, which stays as it is; what its weights hold as gradients does so too.
        image: one picture as the net takes it, (C, H, W) or (1, C, H, W); or, where the net has its
            `preparation`, a path or a PIL image.
        classes: the names of the outputs.
        label: the class to ask for, by number; None for the one the net predicts.

    Raises:
        ConfigError: it is not one picture, there is no such class, or the output does not depend
            on the picture.
    """
    images = as_input(model, image).detach().clone().requires_grad_()
    with evaluating(model), torch.enable_grad():
        outputs = model(images)
        label = _checked_label(label, outputs[0])
        slope = torch.autograd.grad(outputs[0, label], images, allow_unused=True)[0]
    if slope is None or not slope.abs().max():
        raise ConfigError(
            f"the output {class_name(classes, label)} of {type(model).__name__} does not change "
            "with the picture, so there is no gradient to draw; train the net, or ask for another "
            "class"
        )
    sizes = slope[0].abs().amax(0).double().cpu().numpy()
    name = shortened(class_name(classes, label))
    figure, panels = _two_panels(f"what the output {name} hangs on")
    show(panels[0], as_seen(model, images))
    top = float(np.percentile(sizes, 99.5)) or float(sizes.max())
    shades = _shaded(panels[1], sizes / top, 0, 1)
    panels[1].set_title("gradient", fontsize=SMALL_TEXT)
    _bar(figure, shades, panels[1], "size, as a share of the largest", percentage=False)
    return figure


def _probabilities(model: nn.Module, images: Tensor) -> Tensor:
    answers: Tensor = model(images).float().softmax(1).cpu()
    return answers


def _checked_label(label: int | None, outputs: Tensor) -> int:
    if label is None:
        return int(outputs.argmax())
    return _whole("label", label, 0, len(outputs) - 1)


def _whole(name: str, value: Any, lowest: int, highest: int) -> int:
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise ConfigError(f"{name} is {value!r}; give a whole number, {lowest} to {highest}")
    return value


def _starts(length: int, patch: int, stride: int) -> list[int]:
    """Where squares begin, the last at the very end."""
    return sorted({*range(0, length - patch + 1, stride), length - patch})


def _two_panels(title: str) -> tuple[Figure, tuple[Axes, Axes]]:
    figure = new_figure(height=0.68 * WIDTH)
    left, right = figure.subplots(1, 2)
    figure.suptitle(title, fontsize=TEXT)
    left.set_title("picture", fontsize=SMALL_TEXT)
    return figure, (left, right)


def _shaded(axes: Axes, values: Pixels, low: float, high: float) -> AxesImage:
    image = axes.imshow(values, cmap=SHADES, vmin=low, vmax=high, interpolation="nearest")
    bare(axes)
    return image


def _bar(figure: Figure, image: AxesImage, axes: Axes, name: str, *, percentage: bool) -> None:
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=16, pad=0.03)
    bar.set_label(name, fontsize=SMALL_TEXT)
    bar.ax.tick_params(labelsize=SMALL_TEXT)
    bar.locator = MaxNLocator(3)
    if percentage:
        bar.ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
