"""Curves: what is drawn of one run, of several, and of one over seeds."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from classicnets import plots
from classicnets.errors import ConfigError


def labels_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_curves_draws_loss_and_accuracy_and_marks_the_best_epoch(make: SimpleNamespace) -> None:
    epochs = [make.Epoch(1), make.Epoch(2), make.Epoch(3)]
    figure = plots.curves(make.History(epochs, best_epoch=2))
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert labels_of(figure) == ["training", "validation", "best"]
    best = [line for line in loss.lines if line.get_label() == "best"]
    assert list(best[0].get_xdata()) == [2]


def test_curves_tells_training_from_validation_without_colour(make: SimpleNamespace) -> None:
    figure = plots.curves(make.History([make.Epoch(1), make.Epoch(2)]))
    training, validation = figure.axes[0].lines
    assert training.get_linestyle() != validation.get_linestyle()


def test_curves_leaves_out_what_was_not_measured(make: SimpleNamespace) -> None:
    epochs = [make.Epoch(n, train_accuracy=None, val_loss=None, val_accuracy=None) for n in (1, 2)]
    figure = plots.curves(make.History(epochs))
    assert len(figure.axes) == 1
    assert labels_of(figure) == ["training"]


def test_curves_of_one_epoch_draws_the_loss_of_every_step(make: SimpleNamespace) -> None:
    steps = list(np.linspace(2.3, 0.1, 250))
    figure = plots.curves(make.History([make.Epoch(1, val_accuracy=0.975)], steps))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "step"
    assert list(axes.lines[0].get_ydata()) == steps
    assert labels_of(figure) == ["training, mean of 5 steps", "validation, 97.5 % right"]


def test_curves_draws_several_histories_by_name(make: SimpleNamespace) -> None:
    figure = plots.curves({"adam": make.learning(3), "sgd": make.learning(2)})
    assert labels_of(figure) == ["adam", "sgd", "training", "validation"]


def test_curves_tells_several_runs_apart_without_colour(make: SimpleNamespace) -> None:
    figure = plots.curves({str(n): make.learning(3) for n in range(10)})
    validation = [line for line in figure.axes[0].lines if line.get_label() == "validation"]
    looks = {(line.get_marker(), line.get_color()) for line in validation}
    assert len(looks) == 10
    assert len({line.get_marker() for line in validation[:8]}) == 8


def test_curves_over_seeds_draws_the_mean_and_the_range(make: SimpleNamespace) -> None:
    losses = {1: 0.9, 2: 0.6, 3: 0.3}
    histories = [
        make.History([make.Epoch(n, val_loss=loss * factor) for n, loss in losses.items()])
        for factor in (0.5, 1.0, 3.0)
    ]
    figure = plots.curves(histories)
    validation = figure.axes[0].lines[1]
    assert list(validation.get_ydata()) == pytest.approx([1.35, 0.9, 0.45])
    _, band = figure.axes[0].collections
    assert band.get_paths()[0].get_extents().ymin == pytest.approx(0.15)
    assert band.get_paths()[0].get_extents().ymax == pytest.approx(2.7)
    assert labels_of(figure)[0] == "training, mean and range of 3"


def test_curves_over_seeds_ends_with_the_shortest(make: SimpleNamespace) -> None:
    figure = plots.curves([make.learning(5), make.learning(3)])
    assert list(figure.axes[0].lines[0].get_xdata()) == [1, 2, 3]


def test_curves_of_one_epoch_over_seeds_still_shows_the_range(make: SimpleNamespace) -> None:
    figure = plots.curves({"a": [make.learning(1), make.learning(1, speed=2)]})
    assert labels_of(figure)[0] == "a, mean and range of 2"
    ((start, end),) = figure.axes[0].collections[0].get_segments()
    assert start[1] < end[1]


def test_curves_refuses_a_history_without_a_step(make: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="history 'a' holds no epoch and no step; train first"):
        plots.curves({"a": make.History([], [])})
    for nothing in ({}, [], {"a": []}):
        with pytest.raises(ConfigError, match="history is empty; give at least one history"):
            plots.curves(nothing)
