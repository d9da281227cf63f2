"""Pictures with what the net takes them for: any, the worst mistakes, the most doubted."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError
from .style import (
    GREEN,
    RIGHT_TEXT,
    SMALL_TEXT,
    TEXT,
    VERMILLION,
    WIDTH,
    WRONG_TEXT,
    new_figure,
    shortened,
    show,
    stretched,
    to_picture,
)

__all__ = ["doubts", "mistakes", "predictions"]


class _Prediction(Protocol):
    @property
    def labels(self) -> ArrayLike: ...
    @property
    def probabilities(self) -> ArrayLike: ...


class _Images(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def predictions(
    images: _Images,
    labels: ArrayLike,
    prediction: _Prediction,
    classes: Sequence[str],
    *,
    count: int = 12,
    columns: int | None = None,
) -> Figure:
    """Draw pictures from all over the set with what they were taken for.

    A right answer is green, with a tick and a solid frame; a mistake is red, with a cross and a
    dashed one, and says the true class. Shares are the net's probabilities.

    Args:
        images: N pictures (C, H, W) or (H, W), of any range: only those drawn are looked up.
        labels: the N true classes, by number.
        prediction: what `predict` returned for the same pictures in the same order.
        classes: the names of the classes.
        count: how many pictures to draw at most.
        columns: how many of them side by side; 4, or 3 where the names are long.

    Raises:
        ConfigError: there is no picture, images, labels and prediction differ in number, or a
            label has no class.
    """
    answers = _checked(images, labels, prediction, classes, count)
    total = len(answers.true)
    chosen = np.linspace(0, total - 1, min(count, total)).round().astype(int)
    title = f"{answers.wrong.sum():,} wrong of {total:,}"
    return _grid(images, answers, classes, chosen, columns, title)


def mistakes(
    images: _Images,
    labels: ArrayLike,
    prediction: _Prediction,
    classes: Sequence[str],
    *,
    count: int = 12,
    columns: int | None = None,
) -> Figure:
    """Draw the worst mistakes: those where the wrong class got the highest probability.

    Arguments and errors are those of `predictions`.
    """
    answers = _checked(images, labels, prediction, classes, count)
    order = np.argsort(
        np.where(answers.wrong, -answers.probabilities.max(axis=1), np.inf), kind="stable"
    )
    wrong = int(answers.wrong.sum())
    title = f"{wrong:,} wrong of {len(order):,}" + (", the worst first" if wrong else "")
    return _grid(images, answers, classes, order[: min(count, wrong)], columns, title)


def doubts(
    images: _Images,
    labels: ArrayLike,
    prediction: _Prediction,
    classes: Sequence[str],
    *,
    count: int = 12,
    columns: int | None = None,
) -> Figure:
    """Draw the most doubted pictures: the two highest probabilities lie closest together.

    Under a right answer stands the class that came second. Arguments and errors are those of
    `predictions`.
    """
    answers = _checked(images, labels, prediction, classes, count)
    if answers.probabilities.shape[1] < 2:
        raise ConfigError("prediction has one class, and no doubt; give a net with two or more")
    second, first = np.sort(answers.probabilities, axis=1)[:, -2:].T
    order = np.argsort(first - second, kind="stable")[:count]
    wrong = int(answers.wrong[order].sum())
    title = f"the {len(order)} most doubted of {len(first):,}, {wrong} of them wrong"
    return _grid(images, answers, classes, order, columns, title, second=True)


class _Answers(NamedTuple):
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    probabilities: NDArray[np.float64]


def _checked(
    images: _Images, labels: ArrayLike, prediction: _Prediction, classes: Sequence[str], count: int
) -> _Answers:
    true, predicted = np.asarray(labels), np.asarray(prediction.labels)
    if not 0 < len(images) == len(true) == len(predicted):
        raise ConfigError(
            f"images, labels and prediction hold {len(images)}, {len(true)} and {len(predicted)} "
            "entries; give as many of each, at least one"
        )
    highest = max(true.max(), predicted.max())
    if highest >= len(classes):
        raise ConfigError(
            f"labels hold {highest}, but there are {len(classes)} classes; name them all"
        )
    if count < 1:
        raise ConfigError(f"count is {count}; draw at least 1 picture")
    return _Answers(true, predicted, predicted != true, np.asarray(prediction.probabilities))


def _grid(
    images: _Images,
    answers: _Answers,
    classes: Sequence[str],
    chosen: NDArray[np.int64],
    columns: int | None,
    title: str,
    *,
    second: bool = False,
) -> Figure:
    columns = columns or (4 if max(map(len, classes)) <= 4 else 3)
    rows = max(1, -(-len(chosen) // columns))
    captions = [_caption(answers, classes, index, second) for index in chosen]
    lines = 1 + max((caption.count("\n") for caption in captions), default=0)
    figure = new_figure(height=rows * (0.94 * WIDTH / columns + 0.06 + 0.14 * lines) + 0.25)
    figure.suptitle(title, fontsize=TEXT)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    pictures = [to_picture(images[int(index)]) for index in chosen]
    low, high = min(map(np.min, pictures), default=0), max(map(np.max, pictures), default=1)
    drawn = zip(figure.axes, pictures, captions, answers.wrong[chosen], strict=False)
    for axes, picture, caption, wrong in drawn:
        show(axes, stretched(picture, low, high))
        _label(axes, caption, bool(wrong))
    return figure


def _caption(answers: _Answers, classes: Sequence[str], index: int, second: bool) -> str:
    """What it was taken for; and under it the true class, or the one that came second."""
    shares = answers.probabilities[index]

    def line(before: str, label: int) -> str:
        return f"{before} {shortened(classes[label])}  {100 * shares[label]:.0f} %"

    if answers.wrong[index]:
        return line("✗", answers.predicted[index]) + "\n" + line("true:", answers.true[index])
    right = line("✓", answers.predicted[index])
    return right + "\n" + line("or", int(np.argsort(shares)[-2])) if second else right


def _label(axes: Axes, caption: str, wrong: bool) -> None:
    axes.add_patch(
        Rectangle(
            (0, 0),
            1,
            1,
            transform=axes.transAxes,
            fill=False,
            clip_on=False,
            edgecolor=VERMILLION if wrong else GREEN,
            linewidth=2,
            linestyle=(0, (2, 1)) if wrong else "-",
        )
    )
    axes.set_title(caption, color=WRONG_TEXT if wrong else RIGHT_TEXT, fontsize=SMALL_TEXT)
