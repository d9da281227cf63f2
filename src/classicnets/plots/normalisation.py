"""What local response normalisation does to the maps of one picture."""

from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor, nn

from ..errors import ConfigError
from ..evaluation_mode import evaluating
from ..layers import LocalResponseNorm
from .stages import as_input, short_name
from .style import (
    BLUE,
    ORANGE,
    SHADES,
    SMALL_TEXT,
    TEXT,
    VERMILLION,
    WIDTH,
    Pixels,
    bare,
    new_figure,
    percent,
    show,
    stretched,
)

__all__ = ["has_response_norm", "response_norm"]

_KINDS = (LocalResponseNorm, nn.LocalResponseNorm)
_MAPS_SHOWN = 15  # adjacent ones


def has_response_norm(model: nn.Module) -> bool:
    """Whether there is anything for `response_norm` to draw."""
    return any(isinstance(layer, _KINDS) for layer in model.modules())


def response_norm(model: nn.Module, image: Any) -> Figure:
    """Draw what the first local response normalisation of a net does to one picture.

    Above: what it leaves of a value, by the sum of squares over the window of adjacent maps, and
    the sums of this picture. In the middle: adjacent maps at the place where the most is taken,
    before and after, each as a share of the largest before. Below: the strongest map there, and
    what is left of it everywhere.

    Even with quiet neighbours k^-beta is all that is left; what matters is how much less it gets
    where neighbours are loud.

    Paper: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", NIPS 2012, section 3.3.

    Args:
        model: the net, which stays as it is.
        image: one picture as the net takes it, (C, H, W) or (1, C, H, W); or, where the net has its
            `preparation`, a path or a PIL image.

    Raises:
        ConfigError: it is not one picture, or the net calls no layer of that kind.
    """
    if not has_response_norm(model):
        raise ConfigError(
            f"{type(model).__name__} has no local response normalisation; "
            "give a net that has, such as AlexNetPaper"
        )
    before = _before(model, as_input(model, image))
    values, rule = before.values, before.rule
    sums = _window_sums(values, rule.n)
    left = rule.left(sums)
    middle, row, column = map(int, np.unravel_index(np.argmin(left), left.shape))
    around = values[:, row, column]
    in_window = np.abs(np.arange(len(around)) - middle) <= rule.n // 2
    channel = int(np.argmax(np.where(in_window, np.abs(around), -1)))
    alone, least = float(rule.left(np.zeros(1))[0]), float(left.min())

    figure = new_figure(height=1.5 * WIDTH)
    figure.suptitle(
        f"{before.name}\nleaves {percent(alone)}, beside loud maps {percent(least)}",
        fontsize=TEXT,
    )
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 1, 1.15])
    _draw_rule(figure.add_subplot(grid[0, :]), rule, sums)
    _draw_neighbours(figure.add_subplot(grid[1, :]), around, around * left[:, row, column], channel)
    panels = figure.add_subplot(grid[2, 0]), figure.add_subplot(grid[2, 1])
    _draw_maps(panels, values[channel], left[channel], (column, row))
    return figure


class _Rule(NamedTuple):
    """x / (k + alpha * sum)^beta, alpha as printed."""

    n: int
    alpha: float
    beta: float
    k: float

    def left(self, sums: Pixels) -> Pixels:
        """What share of a value is left."""
        shares: Pixels = (self.k + self.alpha * sums) ** -self.beta
        return shares


class _Before(NamedTuple):
    """What goes into a normalisation, (C, H, W)."""

    name: str
    rule: _Rule
    values: Pixels


def _before(model: nn.Module, images: Tensor) -> _Before:
    found: list[_Before] = []

    def keep(name: str) -> Any:
        def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0][0].double().cpu().numpy()
            found.append(_Before(short_name(name, layer), _rule_of(layer), values))

        return note

    hooks = [
        layer.register_forward_pre_hook(keep(name))
        for name, layer in model.named_modules()
        if isinstance(layer, _KINDS)
    ]
    try:
        with evaluating(model), torch.inference_mode():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has a local response normalisation, but forward does not "
            "call it; give a net that does"
        )
    return found[0]


def _rule_of(layer: Any) -> _Rule:
    if isinstance(layer, LocalResponseNorm):
        return _Rule(layer.n, layer.alpha, layer.beta, layer.k)
    return _Rule(layer.size, layer.alpha / layer.size, layer.beta, layer.k)


def _window_sums(values: Pixels, n: int) -> Pixels:
    """The sum of squares over n adjacent maps, cut off at the first and last; torch's window."""
    padded = np.pad(np.square(values), ((n // 2, (n - 1) // 2), (0, 0), (0, 0)))
    sums: Pixels = np.sum([padded[i : i + len(values)] for i in range(n)], axis=0)
    return sums


def _draw_rule(axes: Axes, rule: _Rule, sums: Pixels) -> None:
    low, high = np.percentile(sums, (1, 99))
    half = rule.k / rule.alpha if rule.alpha else 1.0  # here the sum weighs as much as k
    x = np.geomspace(half / 1e4, half * 1e3, 200)
    axes.plot(x, rule.left(x), color=BLUE)
    axes.axvspan(max(low, x[0]), max(high, x[0] * 1.2), color=ORANGE, alpha=0.35, linewidth=0)
    axes.axvline(max(float(sums.max()), x[0]), color=VERMILLION, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(x[0], x[-1])
    axes.set_xlabel(f"sum of squares over {rule.n} maps", fontsize=SMALL_TEXT)
    axes.set_ylabel("left of a value", fontsize=SMALL_TEXT)
    axes.set_title(
        "band: 98 % of this picture; dashed: its largest", fontsize=SMALL_TEXT, loc="left"
    )
    _tidy(axes)


def _draw_neighbours(axes: Axes, before: Pixels, after: Pixels, channel: int) -> None:
    first = min(max(0, channel - _MAPS_SHOWN // 2), max(0, len(before) - _MAPS_SHOWN))
    shown = np.arange(first, min(len(before), first + _MAPS_SHOWN))
    largest = np.abs(before[shown]).max() or 1.0
    axes.bar(
        shown,
        before[shown] / largest,
        color="white",
        edgecolor="black",
        linewidth=0.8,
        hatch="////",
    )
    axes.bar(shown, after[shown] / largest, width=0.5, color=BLUE)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("map", fontsize=SMALL_TEXT)
    axes.set_ylabel("of the largest", fontsize=SMALL_TEXT)
    axes.set_xticks(shown[::2])
    axes.set_title(
        "at the marked place, hatched before, filled after", fontsize=SMALL_TEXT, loc="left"
    )
    _tidy(axes)


def _draw_maps(
    panels: tuple[Axes, Axes], values: Pixels, left: Pixels, place: tuple[int, int]
) -> None:
    show(panels[0], stretched(values, float(values.min()), float(values.max())))
    panels[0].set_title("the map before", fontsize=SMALL_TEXT)
    image = panels[1].imshow(left, cmap=SHADES, interpolation="nearest")
    bare(panels[1])
    panels[1].set_title("left of it", fontsize=SMALL_TEXT)
    bar = panels[1].figure.colorbar(image, ax=panels[1], aspect=16, pad=0.03)
    bar.ax.tick_params(labelsize=SMALL_TEXT)
    bar.ax.locator_params(nbins=4)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
    for axes in panels:
        for colour, width in (("black", 2.5), ("white", 1)):
            axes.plot(
                *place,
                "o",
                markersize=9,
                color=colour,
                fillstyle="none",
                markeredgewidth=width,
                clip_on=False,
            )


def _tidy(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
    axes.tick_params(labelsize=SMALL_TEXT)
    axes.spines[["top", "right"]].set_visible(False)
