"""What a net has learnt to look for, and which maps its layers connect."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..errors import ConfigError
from .stages import plural, short_name, unwrapped
from .style import BLUE, SMALL_TEXT, TEXT, WIDTH, Pixels, mosaic, new_figure, show, stretched

__all__ = ["connections", "filters", "has_connections", "has_filters"]

_MOST_FIRST = 128  # filters of a first layer
_MOST_OUTPUTS, _MOST_INPUTS = 16, 8  # of a later one


def filters(model: nn.Module) -> Figure:
    """Draw the kernels of every convolution: what it looks for.

    Kernels of a layer that sees grey or colour are drawn as such, one a map. Those of others stand
    in a table: a column for each of its first maps, a row for each of the first maps that they see;
    where a map is not seen, nothing stands. Middle grey is 0, black and white the largest weight of
    the layer, at either sign.

    Args:
        model: the net.

    Raises:
        ConfigError: the net has no convolution.
    """
    layers = _convolutions(model)
    if not layers:
        raise ConfigError(
            f"{type(model).__name__} has no convolution, so no filters; give a net with one"
        )
    rows = [(_title(layer), *_drawn(layer.kernels)) for layer in layers]
    shares = [picture.shape[0] / picture.shape[1] for _, picture, _ in rows]
    extra = sum(0.4 if below else 0.25 for *_, below in rows)
    figure = new_figure(height=WIDTH * sum(shares) + extra)
    panels = figure.subplots(len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": shares})[
        :, 0
    ]
    for axes, (title, picture, below) in zip(panels, rows, strict=True):
        show(axes, picture)
        axes.set_title(title, fontsize=SMALL_TEXT, loc="left", pad=2)
        axes.set_anchor("W")
        axes.set_xlabel(below, fontsize=SMALL_TEXT, labelpad=1, loc="left")
    return figure


def connections(model: nn.Module) -> Figure:
    """Draw which maps are connected where a table says so, as in C3 of LeNet-5.

    Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11) 1998, Table I.

    Args:
        model: the net.

    Raises:
        ConfigError: no layer of the net leaves a connection out.
    """
    tables = _tables(model)
    if not tables:
        raise ConfigError(
            f"{type(model).__name__} has no layer with a table of connections; give a net that "
            "has one, such as LeNet5Paper, LeNet1 or LeNet1989"
        )
    heights = [WIDTH * inputs / max(16, len(table)) + 0.75 for _, table, inputs in tables]
    figure = new_figure(height=sum(heights))
    panels = figure.subplots(len(tables), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[
        :, 0
    ]
    for axes, (name, table, inputs) in zip(panels, tables, strict=True):
        links = [(output, i) for output, maps in enumerate(table) for i in maps]
        axes.scatter(*zip(*links, strict=True), marker="X", s=60, color=BLUE, linewidth=0)
        axes.set(xlim=(-0.5, len(table) - 0.5), ylim=(inputs - 0.5, -0.5), aspect="equal")
        axes.set_xticks(range(len(table)))
        axes.set_yticks(range(inputs))
        axes.set_xticks(np.arange(len(table) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(inputs + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="#BBBBBB", linewidth=0.6)
        axes.tick_params(which="both", length=0, labelsize=SMALL_TEXT)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(f"map of {name}", fontsize=SMALL_TEXT + 1)
        axes.set_ylabel("sees map", fontsize=SMALL_TEXT + 1)
        axes.set_title(f"{name}: {len(links)} of {len(table) * inputs} connections", fontsize=TEXT)
    return figure


def has_filters(model: nn.Module) -> bool:
    """Whether there is anything for `filters` to draw."""
    return bool(_convolutions(model))


def has_connections(model: nn.Module) -> bool:
    """Whether there is anything for `connections` to draw."""
    return bool(_tables(model))


class _Convolution(NamedTuple):
    name: str
    kernels: Pixels  # (out, in of its group, kH, kW), NaN where there is no connection


def _convolutions(model: nn.Module) -> list[_Convolution]:
    found = []
    for name, layer in unwrapped(model).named_modules():
        if isinstance(layer, nn.Conv2d):
            kernels = _numbers(layer.weight)
        elif hasattr(layer, "table"):
            kernels = _dense(layer)
        else:
            continue
        if kernels[0, 0].size > 1:
            found.append(_Convolution(short_name(name, layer), kernels))
    return found


def _dense(layer: Any) -> Pixels:
    weights = _numbers(layer.weight)
    kernels = np.full((len(layer.table), layer.in_channels, *weights.shape[1:]), np.nan)
    links = [(output, i) for output, maps in enumerate(layer.table) for i in maps]
    for kernel, (output, i) in zip(weights, links, strict=True):
        kernels[output, i] = kernel
    return kernels


def _numbers(weight: Tensor) -> Pixels:
    numbers: Pixels = weight.detach().double().cpu().numpy()
    return numbers


def _drawn(kernels: Pixels) -> tuple[Pixels, str]:
    """The picture of a layer, and how it is to be read where it is a table."""
    count, inputs = kernels.shape[:2]
    if inputs in (1, 3):
        first = kernels[:_MOST_FIRST]
        tiles = first[:, 0] if inputs == 1 else np.moveaxis(first, 1, -1)
        return mosaic(_grey(tiles), 16 if count > 16 else 8), ""
    part = kernels[:_MOST_OUTPUTS, :_MOST_INPUTS]
    tiles = part.swapaxes(0, 1).reshape(-1, *kernels.shape[2:])
    columns = "maps" if count == len(part) else f"the first {len(part)} maps"
    rows = f"the {inputs}" if inputs == part.shape[1] else f"{part.shape[1]} of {inputs}"
    return mosaic(_grey(tiles), len(part)), f"columns: {columns}; rows: {rows} they see"


def _grey(weights: Pixels) -> Pixels:
    largest = float(np.nanmax(np.abs(weights)))
    return stretched(weights, -largest, largest)


def _title(layer: _Convolution) -> str:
    count, inputs, height, width = layer.kernels.shape
    title = f"{layer.name}: {plural(count, 'map')}, kernels {height}×{width}"
    cut = inputs in (1, 3) and count > _MOST_FIRST
    return title + (f", the first {_MOST_FIRST}" if cut else "")


def _tables(model: nn.Module) -> list[tuple[str, Sequence[Sequence[int]], int]]:
    return [
        (short_name(name, layer), layer.table, layer.in_channels)
        for name, layer in unwrapped(model).named_modules()
        if isinstance(getattr(layer, "table", None), tuple)
        and any(len(maps) < layer.in_channels for maps in layer.table)
    ]
