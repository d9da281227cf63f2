"""What each layer of a net makes of one picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from ..errors import ConfigError
from .stages import as_input, as_seen, class_name, plural, stages_of
from .style import SMALL_TEXT, WIDTH, Pixels, mosaic, new_figure, shortened, show, stretched

__all__ = ["activations"]

_COLUMNS = 8
_MOST_NAMED = 10
_LONG = 8  # a strip of units has so many times as many columns as rows
_FEWEST_COLUMNS = 10
_MOST_APART = 400  # units of a strip with gaps between them


def activations(
    model: nn.Module, image: Any, *, classes: Sequence[str] | None = None, maps: int = 16
) -> Figure:
    """Draw the feature maps of one picture layer by layer, from the input to the outputs.

    Each layer is drawn after its activation, on a scale of its own from black, its lowest value, to
    white, its highest; 1 % of the values at either end may lie beyond. Layers without maps are
    strips, a cell a unit, read row by row.

    Args:
        model: the net, which stays as it is.
        image: one picture as the net takes it, (C, H, W) or (1, C, H, W); or, where the net has its
            `preparation`, a path or a PIL image.
        classes: the names of the outputs.
        maps: how many maps of a layer to draw, the first ones.

    Raises:
        ConfigError: it is not one picture, `maps` is below 1, or the net has no layer to draw.
    """
    if maps < 1:
        raise ConfigError(f"maps is {maps}; draw at least 1 map of a layer")
    images = as_input(model, image)
    stages = [stage for stage in stages_of(model, images) if stage.output.ndim in (2, 4)]
    if not stages:
        raise ConfigError(
            f"{type(model).__name__} calls no layer with maps or units; give a net whose layers "
            "are modules"
        )
    rows = [("input", as_seen(model, images), 0.25)]
    for stage in stages:
        values = stage.output[0].float().cpu().numpy()
        units = values.shape[1:] in ((), (1, 1))
        what = plural(values.size if units else len(values), "unit" if units else "map")
        title = f"{stage.name}: {what}"
        if units:
            picture = _strip(_grey(values.reshape(-1)))
        else:
            title += f" of {values.shape[1]}×{values.shape[2]}"
            title += f", the first {maps}" if len(values) > maps else ""
            picture = mosaic(_grey(values[:maps]), _COLUMNS)
        rows.append((title, picture, picture.shape[0] / picture.shape[1]))

    figure = new_figure(height=WIDTH * sum(share for *_, share in rows) + 0.25 * len(rows))
    panels = figure.subplots(
        len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": [share for *_, share in rows]}
    )[:, 0]
    for axes, (title, picture, _) in zip(panels, rows, strict=True):
        show(axes, picture)
        axes.set_title(title, fontsize=SMALL_TEXT, loc="left", pad=2)
        axes.set_anchor("W")
    _name_outputs(panels[-1], classes, stages[-1].output)
    return figure


def _grey(values: Any) -> Pixels:
    low, high = (
        np.percentile(values, (1, 99)) if values.size > 200 else (values.min(), values.max())
    )
    return stretched(np.asarray(values, dtype=float), float(low), float(high))


def _strip(values: Pixels) -> Pixels:
    """Units in rows, the last of which may end early."""
    rows = max(1, round((len(values) / _LONG) ** 0.5))
    columns = max(_FEWEST_COLUMNS, -(-len(values) // rows))
    if len(values) <= _MOST_APART:
        return mosaic(values.reshape(-1, 1, 1), columns)
    cells = np.ones(rows * columns)
    cells[: len(values)] = values
    return cells.reshape(rows, columns)


def _name_outputs(axes: Any, classes: Sequence[str] | None, outputs: Any) -> None:
    count = outputs[0].numel()
    if outputs.ndim != 2 or count > _MOST_NAMED:
        return
    names = [class_name(classes, label) for label in range(count)]
    best = int(outputs[0].argmax())
    places = (np.arange(count) + 0.5) * (axes.get_xlim()[1] + 0.5) / _FEWEST_COLUMNS
    tilted = max(map(len, names)) > 4
    axes.set_xticks(
        places,
        [shortened(name) for name in names],
        fontsize=SMALL_TEXT,
        rotation=45 if tilted else 0,
        horizontalalignment="right" if tilted else "center",
        rotation_mode="anchor" if tilted else "default",
    )
    axes.tick_params(length=0)
    axes.get_xticklabels()[best].set_fontweight("bold")
