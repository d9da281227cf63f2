"""How losses and accuracies went in training, of one run, of several, or of one over seeds."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..errors import ConfigError
from .style import RUN_COLOURS, TEXT, VERMILLION, WIDTH, new_figure, percent

__all__ = ["curves"]

_PARTS = {"train": "training", "val": "validation"}
_LINES: dict[str, Literal["--", "-"]] = {"train": "--", "val": "-"}
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MARKS_A_LINE = 8


class _History(Protocol):
    @property
    def epochs(self) -> Sequence[Any]: ...
    @property
    def step_losses(self) -> Sequence[float]: ...
    @property
    def best_epoch(self) -> int | None: ...


_Histories = _History | Sequence[_History]


class _Look(NamedTuple):
    """A run's place in the drawing; the only one has no name, and a colour for each part."""

    name: str
    colour: str
    mark: str

    def of(self, part: str) -> str:
        return VERMILLION if part == "val" and not self.name else self.colour


def curves(history: _Histories | Mapping[str, _Histories]) -> Figure:
    """Draw loss and accuracy per epoch, training and validation, the best epoch marked.

    Histories in a list count as one training repeated with other seeds: the line is their mean,
    the band reaches from the lowest to the highest, over the epochs that all of them have. A single
    history of a single epoch is drawn step by step.

    Args:
        history: what `fit` returned; or a list of such; or several of either by name, drawn over
            each other.

    Raises:
        ConfigError: there is no history, or one without a single step.
    """
    named = history if isinstance(history, Mapping) else {"": history}
    groups = {
        name: list(one) if isinstance(one, Sequence) else [one] for name, one in named.items()
    }
    if not groups or not all(groups.values()):
        raise ConfigError("history is empty; give at least one history to draw")
    for name, members in groups.items():
        if any(not one.epochs and not one.step_losses for one in members):
            which = f"history {name!r}" if name else "history"
            raise ConfigError(f"{which} holds no epoch and no step; train first, then draw")
    looks = [
        _Look(name, *look)
        for name, look in zip(groups, zip(cycle(RUN_COLOURS), cycle(_MARKS)), strict=False)
    ]
    runs = list(zip(looks, groups.values(), strict=True))
    if all(len(group) == 1 and _is_short(group[0]) for group in groups.values()):
        return _per_step([(look, group[0]) for look, group in runs])
    return _per_epoch(runs)


def _is_short(history: _History) -> bool:
    return len(history.epochs) <= 1 and len(history.step_losses) > 0


def _per_epoch(runs: list[tuple[_Look, list[_History]]]) -> Figure:
    quantities = ["loss"]
    histories = [history for _, group in runs for history in group]
    if any(_points(one, f"{part}_accuracy") for one in histories for part in _PARTS):
        quantities.append("accuracy")
    figure = new_figure(height=(0.2 + 0.5 * len(quantities)) * WIDTH)
    panels = figure.subplots(len(quantities), 1, sharex=True, squeeze=False)[:, 0]
    for axes, quantity in zip(panels, quantities, strict=True):
        for look, group in runs:
            for part in _PARTS:
                _draw_part(axes, group, f"{part}_{quantity}", part, look)
            if len(group) == 1:
                _mark_best(axes, group[0], quantity, look)
        axes.set_ylabel(quantity)
        _tidy(axes)
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        else:
            axes.set_ylim(bottom=0)
    _legend(figure, panels[0], runs)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _draw_part(axes: Axes, group: list[_History], key: str, part: str, look: _Look) -> None:
    points = [_points(history, key) for history in group]
    epochs = sorted(set.intersection(*map(set, points)))
    if not epochs:
        return
    values = np.array([[one[epoch] for epoch in epochs] for one in points])
    colour = look.of(part)
    marked = look.name and part == "val"
    axes.plot(
        epochs,
        values.mean(axis=0),
        color=colour,
        linestyle=_LINES[part],
        marker=look.mark if marked else "." if len(epochs) == 1 else None,
        markersize=4,
        markevery=max(1, len(epochs) // _MARKS_A_LINE),
        label=_PARTS[part],
    )
    if len(group) > 1 and len(epochs) > 1:
        band = values.min(axis=0), values.max(axis=0)
        axes.fill_between(epochs, *band, color=colour, alpha=0.2, linewidth=0)
    elif len(group) > 1:
        axes.vlines(epochs, values.min(), values.max(), color=colour, alpha=0.5)


def _mark_best(axes: Axes, history: _History, quantity: str, look: _Look) -> None:
    best, points = history.best_epoch, _points(history, f"val_{quantity}")
    if best in points:
        axes.plot(
            [best],
            [points[best]],
            "o",
            color=look.of("val"),
            fillstyle="none",
            markersize=9,
            markeredgewidth=1.5,
            label="best",
        )


def _legend(figure: Figure, axes: Axes, runs: list[tuple[_Look, list[_History]]]) -> None:
    """Name each run once and each kind of line once, above the panels."""
    known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if len(runs) == 1 and not runs[0][0].name:
        entries = known
        if (count := len(runs[0][1])) > 1:
            entries = {f"{part}, mean and range of {count}": line for part, line in known.items()}
    else:
        entries = {
            look.name + (f", mean and range of {len(group)}" if len(group) > 1 else ""): Line2D(
                [], [], color=look.colour, marker=look.mark, markersize=4
            )
            for look, group in runs
        }
        entries |= {
            name: Line2D([], [], color="#555555", linestyle=_LINES[part])
            for part, name in _PARTS.items()
            if name in known
        }
    _legend_above(figure, entries)


def _legend_above(figure: Figure, entries: Mapping[str, Any]) -> None:
    columns = max(1, 54 // (max(map(len, entries)) + 6))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        fontsize=TEXT - 1,
    )


def _points(history: _History, key: str) -> dict[int, float]:
    values = {epoch.epoch: getattr(epoch, key) for epoch in history.epochs}
    return {epoch: value for epoch, value in values.items() if value is not None}


def _per_step(runs: list[tuple[_Look, _History]]) -> Figure:
    figure = new_figure(height=0.65 * WIDTH)
    axes = figure.subplots()
    for look, history in runs:
        losses = np.asarray(history.step_losses, dtype=float)
        steps = np.arange(1, len(losses) + 1)
        window = 1 + 2 * (len(losses) // 100)
        means = np.convolve(losses, np.ones(window) / window, mode="valid")
        prefix = f"{look.name}, " if look.name else ""
        label = f"{prefix}training" + (f", mean of {window} steps" if window > 1 else "")
        axes.plot(steps, losses, color=look.colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps[window // 2 :][: len(means)], means, color=look.colour, label=label)
        for loss, right in _validation(history):
            axes.plot(
                [len(losses)],
                [loss],
                look.mark,
                color=look.of("val"),
                clip_on=False,
                label=f"{prefix}validation{right}",
            )
    axes.set(xlabel="step", ylabel="loss")
    _tidy(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    _legend_above(figure, dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)))
    return figure


def _validation(history: _History) -> Iterator[tuple[float, str]]:
    accuracies = _points(history, "val_accuracy")
    for epoch, loss in _points(history, "val_loss").items():
        yield loss, f", {percent(accuracies[epoch])} right" if epoch in accuracies else ""


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
