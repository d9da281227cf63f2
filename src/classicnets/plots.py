"""Pictures of what a net learnt: its curves, its confusions, its worst mistakes.

Every function returns a `matplotlib.figure.Figure` and touches no global state, so it works
without a display, in a thread and in a notebook alike; `figure.savefig("curves.png")` keeps it.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which stay apart for
colour-blind eyes, and whatever a colour says is also said by a mark or a line style. The figures
are 100 mm wide and stay legible when printed at 80 mm.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from .errors import ConfigError

__all__ = ["confusion", "curves", "predictions"]

_BLUE, _VERMILLION, _GREEN, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
_RUN_COLOURS = (_BLUE, _VERMILLION, _GREEN, "#CC79A7", _ORANGE, "#56B4E9", "#000000")
_WIDTH = 100 / 25.4  # inches
_TEXT, _SMALL_TEXT = 10, 7  # points
_MOST_CLASSES_WITH_NUMBERS = 20
_LONGEST_NAME = 11  # letters of a class name that fit over a tile


class _History(Protocol):
    @property
    def epochs(self) -> Sequence[Any]: ...
    @property
    def step_losses(self) -> Sequence[float]: ...
    @property
    def best_epoch(self) -> int | None: ...


class _Prediction(Protocol):
    @property
    def labels(self) -> ArrayLike: ...
    @property
    def probabilities(self) -> ArrayLike: ...


class _Images(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def curves(history: _History | Mapping[str, _History]) -> Figure:
    """Draw loss and accuracy per epoch, training and validation, the best epoch marked.

    A history of a single epoch is drawn step by step instead.

    Args:
        history: what `fit` returned, or several of them by name, drawn over each other.

    Raises:
        ConfigError: there is no history, or one without a single step.
    """
    histories = history if isinstance(history, Mapping) else {"": history}
    if not histories:
        raise ConfigError("history is an empty mapping; give at least one history to draw")
    for name, one in histories.items():
        if not one.epochs and not one.step_losses:
            which = f"history {name!r}" if name else "history"
            raise ConfigError(f"{which} holds no epoch and no step; train first, then draw")
    if any(len(one.epochs) > 1 or not one.step_losses for one in histories.values()):
        return _curves_per_epoch(histories)
    return _curves_per_step(histories)


def _curves_per_epoch(histories: Mapping[str, _History]) -> Figure:
    quantities = ["loss"]
    if any(_points(one, f"{part}_accuracy") for one in histories.values() for part in _PARTS):
        quantities.append("accuracy")
    figure = _figure(height=(0.15 + 0.5 * len(quantities)) * _WIDTH)
    panels = figure.subplots(len(quantities), 1, sharex=True, squeeze=False)[:, 0]
    for axes, quantity in zip(panels, quantities, strict=True):
        for (name, one), colour in zip(histories.items(), cycle(_RUN_COLOURS), strict=False):
            _draw_run(axes, one, quantity, name, colour)
        axes.set_ylabel(quantity)
        axes.spines[["top", "right"]].set_visible(False)
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        else:
            axes.set_ylim(bottom=0)
    _legend_above(figure, panels[0])
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


_PARTS = {"train": "training", "val": "validation"}


def _draw_run(axes: Axes, history: _History, quantity: str, name: str, colour: str) -> None:
    for part, title in _PARTS.items():
        points = _points(history, f"{part}_{quantity}")
        if not points:
            continue
        if part == "val" and not name:
            colour = _VERMILLION
        axes.plot(
            list(points),
            list(points.values()),
            color=colour,
            linestyle="-" if part == "val" else "--",
            marker="." if len(points) == 1 else None,
            label=f"{name}, {title}" if name else title,
        )
        if part == "val" and history.best_epoch in points:
            best = points[history.best_epoch]
            axes.plot(
                [history.best_epoch], [best], "o", color=colour, label=None if name else "best"
            )


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, 60 // (max(map(len, labels)) + 6))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)


def _points(history: _History, key: str) -> dict[int, float]:
    values = {epoch.epoch: getattr(epoch, key) for epoch in history.epochs}
    return {epoch: value for epoch, value in values.items() if value is not None}


def _curves_per_step(histories: Mapping[str, _History]) -> Figure:
    figure = _figure(height=0.65 * _WIDTH)
    axes = figure.subplots()
    for (name, one), colour in zip(histories.items(), cycle(_RUN_COLOURS), strict=False):
        losses = np.asarray(one.step_losses, dtype=float)
        steps = np.arange(1, len(losses) + 1)
        window = 1 + 2 * (len(losses) // 100)
        means = np.convolve(losses, np.ones(window) / window, mode="valid")
        prefix = f"{name}, " if name else ""
        label = f"{prefix}training" + (f", mean of {window} steps" if window > 1 else "")
        axes.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps[window // 2 :][: len(means)], means, color=colour, label=label)
        for epoch, loss in _points(one, "val_loss").items():
            accuracy = _points(one, "val_accuracy").get(epoch)
            label = f"{prefix}validation" + (
                "" if accuracy is None else f", {_percent(accuracy)} right"
            )
            axes.plot(
                [len(losses)], [loss], "o", color=colour if name else _VERMILLION, label=label
            )
    axes.set(xlabel="step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
    _legend_above(figure, axes)
    return figure


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

    figure = _figure(height=_WIDTH)
    axes = figure.subplots()
    axes.imshow(_confusion_colours(rates))
    if size <= _MOST_CLASSES_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            right = row == column
            axes.text(
                column,
                row,
                f"{counts[row, column]:d}",
                color="white" if right and rates[row, row] > 0.5 else "black",
                fontsize=min(_TEXT, 10 * _SMALL_TEXT / size),
                fontweight="bold" if right else "normal",
                horizontalalignment="center",
                verticalalignment="center",
            )
    tilted = max(map(len, classes)) > 3 and size > 2
    axes.set_xticks(
        range(size),
        classes,
        rotation=45 if tilted else 0,
        horizontalalignment="right" if tilted else "center",
        rotation_mode="anchor" if tilted else "default",
    )
    axes.set_yticks(range(size), classes)
    axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="true")
    total, right = int(counts.sum()), int(np.trace(counts))
    axes.set_title(
        f"{right:,} of {total:,} right, {_percent(right / max(total, 1))}", fontsize=_TEXT
    )
    return figure


def _confusion_colours(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Right cells white to blue, wrong ones to orange by the cube root, so that 1 % shows."""
    colours = LinearSegmentedColormap.from_list("wrong", ["#F4F4F4", _ORANGE])(np.cbrt(rates))
    diagonal = np.arange(len(rates))
    blue = LinearSegmentedColormap.from_list("right", ["#F4F4F4", _BLUE])
    colours[diagonal, diagonal] = blue(np.diag(rates))
    return np.asarray(colours)


def predictions(
    images: _Images,
    labels: ArrayLike,
    prediction: _Prediction,
    classes: Sequence[str],
    *,
    count: int = 20,
    columns: int | None = None,
) -> Figure:
    """Draw a grid of pictures with predicted and true label, the worst mistakes first.

    Worst is the highest probability given to a wrong class. After the mistakes come the right
    answers that were the least sure. A mistake bears a cross and a dashed frame, a right answer a
    tick and a solid one.

    Args:
        images: N pictures (C, H, W) or (H, W), of any range: only those drawn are looked up.
        labels: the N true classes, by number.
        prediction: what `predict` returned for the same pictures in the same order.
        classes: the names of the classes.
        count: how many pictures to draw at most.
        columns: how many of them side by side; 5, or 4 where the names are long.

    Raises:
        ConfigError: there is no picture, images, labels and prediction differ in number, or a
            label has no class.
    """
    true, predicted = np.asarray(labels), np.asarray(prediction.labels)
    if not 0 < len(images) == len(true) == len(predicted):
        raise ConfigError(
            f"images, labels and prediction hold {len(images)}, {len(true)} and {len(predicted)} "
            "entries; give as many of each, at least one"
        )
    highest = max(true.max(), predicted.max())
    if highest >= len(classes):
        raise ConfigError(f"labels hold {highest}, but there are {len(classes)} classes")
    confidence = np.asarray(prediction.probabilities).max(axis=1)
    wrong = predicted != true
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[:count]
    short = max(map(len, classes)) <= 4
    columns = min(columns or (5 if short else 4), len(order))
    rows = -(-len(order) // columns)
    figure = _figure(height=rows * (_WIDTH / columns + 0.28) + 0.3)
    pictures = [_picture(images[int(index)]) for index in order]
    low, high = min(map(np.min, pictures)), max(map(np.max, pictures))
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, picture, index in zip(grid, pictures, order, strict=False):
        axes.imshow((picture - low) / ((high - low) or 1), cmap="gray", vmin=0, vmax=1)
        names = classes[predicted[index]], classes[true[index]]
        _label_tile(axes, *names, confidence[index], _TEXT - 2 if short else _SMALL_TEXT)
    for axes in figure.axes:
        axes.set_axis_off()
    which = "the worst first" if wrong.any() else "the least sure first"
    figure.suptitle(f"{wrong.sum():,} wrong of {len(true):,}, {which}", fontsize=_TEXT)
    return figure


def _picture(image: Any) -> NDArray[np.float64]:
    """(C, H, W) or (H, W), a tensor or an array -> (H, W) or (H, W, 3)."""
    picture = np.asarray(image, dtype=float)
    if picture.ndim == 2:
        return picture
    return picture[0] if len(picture) == 1 else np.moveaxis(picture[:3], 0, -1)


def _label_tile(axes: Axes, predicted: str, true: str, confidence: float, text: int) -> None:
    right = predicted == true
    colour = _GREEN if right else _VERMILLION
    axes.add_patch(
        Rectangle(
            (0, 0),
            1,
            1,
            transform=axes.transAxes,
            fill=False,
            clip_on=False,
            edgecolor=colour,
            linewidth=2,
            linestyle="-" if right else (0, (2, 1)),
        )
    )
    title = f"{'✓' if right else '✗'} {_shortened(predicted)}  {100 * confidence:.0f} %"
    if not right:
        title += f"\ntrue: {_shortened(true)}"
    axes.set_title(title, color=colour, fontsize=text)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _figure(height: float) -> Figure:
    return Figure(figsize=(_WIDTH, height), dpi=200, layout="constrained")
