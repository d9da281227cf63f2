"""How all plots look: their width, text and colours, and how an image becomes a picture."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
RUN_COLOURS = (BLUE, VERMILLION, GREEN, "#CC79A7", ORANGE, "#56B4E9", "#000000")
# as above, but dark enough for small text: at least 5.5 to 1 against white
RIGHT_TEXT, WRONG_TEXT = "#00704F", "#B04A00"
GAP = "#9CC3DE"  # between grey pictures, which hold no blue
SHADES = "cividis"

WIDTH = 100 / 25.4  # inches
TEXT, SMALL_TEXT = 10, 8  # points
_SMALLEST_TILE = 16  # pixels of a tile in a mosaic
_LONGEST_NAME = 11  # letters of a class name that fit over a tile

Pixels = NDArray[np.float64]


def new_figure(height: float) -> Figure:
    """A figure of the width of all, `height` inches high, that no window knows of."""
    return Figure(figsize=(WIDTH, height), dpi=200, layout="constrained")


def percent(share: float) -> str:
    """0.975 as 97.5 %."""
    return f"{100 * share:.1f} %"


def shortened(name: str) -> str:
    """A name that fits over a tile."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def to_picture(image: Any) -> Pixels:
    """(C, H, W) or (H, W), a tensor or an array -> (H, W) or (H, W, 3)."""
    picture = np.asarray(image, dtype=float)
    if picture.ndim == 2:
        return picture
    return picture[0] if len(picture) < 3 else np.moveaxis(picture[:3], 0, -1)


def stretched(values: Pixels, low: float, high: float) -> Pixels:
    """Values from low..high to 0..1, cut off there; NaN stays."""
    return np.clip((values - low) / ((high - low) or 1), 0, 1)


def mosaic(tiles: Pixels, columns: int) -> Pixels:
    """Pictures (n, H, W) or (n, H, W, 3) of values 0..1 in one, row by row.

    Around each is a frame of NaN; where the last row ends early, the rest is white. Small ones are
    enlarged, so that frames are as thin around any.
    """
    times = -(-_SMALLEST_TILE // tiles.shape[2])
    tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
    count, height, width = tiles.shape[:3]
    gap = width // _SMALLEST_TILE
    rows = -(-count // columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, *tiles.shape[3:])
    whole = np.ones(shape)
    corners = [
        ((height + gap) * (i // columns), (width + gap) * (i % columns)) for i in range(count)
    ]
    for top, left in corners:
        whole[top : top + height + 2 * gap, left : left + width + 2 * gap] = np.nan
    for tile, (top, left) in zip(tiles, corners, strict=True):
        whole[top + gap : top + gap + height, left + gap : left + gap + width] = tile
    return whole


def show(axes: Axes, picture: Pixels, *, missing: str = GAP) -> None:
    """Draw a picture of values 0..1, grey or RGB; NaN gets the colour `missing`."""
    axes.set_facecolor(missing)
    if picture.ndim == 3:
        opaque = ~np.isnan(picture).any(axis=2, keepdims=True)
        picture = np.concatenate([np.nan_to_num(picture), opaque], axis=2)
    enlarged = "nearest" if max(picture.shape[:2]) < 500 else "antialiased"
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation=enlarged)
    bare(axes)


def bare(axes: Axes) -> None:
    """Take away ticks and frame, but keep background and labels."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
