"""Which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..errors import ConfigError
from .style import BLUE, ORANGE, SMALL_TEXT, TEXT, WIDTH, Pixels, new_figure, percent

__all__ = ["confusion"]

_MOST_CLASSES_WITH_NUMBERS = 20


def confusion(matrix: ArrayLike, classes: Sequence[str]) -> Figure:
    """Draw which class is taken for which: blue what is right, orange what is not.

    The shade is the share of the true class, so that rare classes weigh as much as common ones.

    Args:
        matrix: counts, (K, K), true classes as rows: `evaluate(...).confusion`.
        classes: the K names.

    Raises:
        ConfigError: the matrix is not (K, K), is empty or holds a negative number.
    """
    counts = np.asarray(matrix)
    size = len(classes)
    if counts.shape != (size, size) or not size:
        raise ConfigError(
            f"matrix has shape {counts.shape}, {size} classes take {(size, size)}; "
            "give evaluate(...).confusion and the classes of the same loader"
        )
    if (counts < 0).any():
        raise ConfigError(f"matrix holds {counts.min()}; counts are 0 or more")
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    figure = new_figure(height=WIDTH)
    axes = figure.subplots()
    axes.imshow(_colours(rates))
    if size <= _MOST_CLASSES_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            right = row == column
            axes.text(
                column,
                row,
                f"{counts[row, column]:d}",
                color="white" if right and rates[row, row] > 0.5 else "black",
                fontsize=min(TEXT, 10 * SMALL_TEXT / size),
                fontweight="bold" if right else "normal",
                horizontalalignment="center",
                verticalalignment="center",
            )
    tilted = max(map(len, classes)) > 3 and size > 2
    text = min(TEXT, 200 / size)
    axes.set_xticks(
        range(size),
        classes,
        rotation=45 if tilted else 0,
        horizontalalignment="right" if tilted else "center",
        rotation_mode="anchor" if tilted else "default",
        fontsize=text,
    )
    axes.set_yticks(range(size), classes, fontsize=text)
    axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="true")
    total, right = int(counts.sum()), int(np.trace(counts))
    axes.set_title(f"{right:,} of {total:,} right, {percent(right / max(total, 1))}", fontsize=TEXT)
    return figure


def _colours(rates: Pixels) -> Pixels:
    """Right cells white to blue, wrong ones to orange by the cube root, so that 1 % shows."""
    colours = LinearSegmentedColormap.from_list("wrong", ["#F4F4F4", ORANGE])(np.cbrt(rates))
    diagonal = np.arange(len(rates))
    blue = LinearSegmentedColormap.from_list("right", ["#F4F4F4", BLUE])
    colours[diagonal, diagonal] = blue(np.diag(rates))
    return np.asarray(colours)
