"""The pictures: what they show, in what order, and what they refuse."""

import io
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from classicnets import plots
from classicnets.errors import ConfigError

DIGITS = tuple("0123456789")


@dataclass
class Epoch:
    epoch: int
    train_loss: float = 0.5
    train_accuracy: float | None = 0.8
    val_loss: float | None = 0.6
    val_accuracy: float | None = 0.7


@dataclass
class History:
    epochs: list[Epoch]
    step_losses: list[float] = field(default_factory=lambda: [2.3, 1.0, 0.5])
    best_epoch: int | None = None


@dataclass
class Prediction:
    labels: np.ndarray
    probabilities: np.ndarray


def png_size(figure: Figure) -> tuple[int, int]:
    file = io.BytesIO()
    figure.savefig(file)
    return Image.open(file).size


def labels_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def predict(true: list[int], predicted: list[int], confidence: list[float]) -> Prediction:
    probabilities = np.zeros((len(true), 10))
    probabilities[np.arange(len(true)), predicted] = confidence
    return Prediction(np.array(predicted), probabilities)


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def test_curves_draws_loss_and_accuracy_and_marks_the_best_epoch() -> None:
    figure = plots.curves(History([Epoch(1), Epoch(2), Epoch(3)], best_epoch=2))
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert labels_of(figure) == ["training", "validation", "best"]
    best = [line for line in loss.lines if line.get_label() == "best"]
    assert list(best[0].get_xdata()) == [2]


def test_curves_tells_training_from_validation_without_colour() -> None:
    figure = plots.curves(History([Epoch(1), Epoch(2)]))
    training, validation = figure.axes[0].lines
    assert training.get_linestyle() != validation.get_linestyle()


def test_curves_leaves_out_what_was_not_measured() -> None:
    epochs = [Epoch(n, train_accuracy=None, val_loss=None, val_accuracy=None) for n in (1, 2)]
    figure = plots.curves(History(epochs))
    assert len(figure.axes) == 1
    assert labels_of(figure) == ["training"]


def test_curves_of_one_epoch_draws_the_loss_of_every_step() -> None:
    steps = list(np.linspace(2.3, 0.1, 250))
    figure = plots.curves(History([Epoch(1, val_accuracy=0.975)], steps))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "step"
    assert list(axes.lines[0].get_ydata()) == steps
    assert labels_of(figure) == ["training, mean of 5 steps", "validation, 97.5 % right"]


def test_curves_draws_several_histories_by_name() -> None:
    figure = plots.curves({"adam": History([Epoch(1), Epoch(2)]), "sgd": History([Epoch(1)])})
    assert labels_of(figure)[0] == "adam, training"
    assert labels_of(figure)[-1] == "sgd, validation"


def test_curves_refuses_a_history_without_a_step() -> None:
    with pytest.raises(ConfigError, match="history 'a' holds no epoch and no step; train first"):
        plots.curves({"a": History([], [])})
    with pytest.raises(ConfigError, match="empty mapping"):
        plots.curves({})


def test_confusion_writes_each_count_and_the_share_that_is_right() -> None:
    figure = plots.confusion([[40, 6], [0, 54]], ("cat", "dog"))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["40", "6", "54"]
    assert axes.get_title() == "94 of 100 right, 94.0 %"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]


def test_confusion_of_many_classes_has_no_numbers() -> None:
    figure = plots.confusion(np.eye(21, dtype=int), [f"class {n}" for n in range(21)])
    assert not figure.axes[0].texts


def test_confusion_of_an_empty_test_set_can_be_drawn() -> None:
    assert "0 of 0 right" in plots.confusion(np.zeros((2, 2), int), "ab").axes[0].get_title()


def test_confusion_refuses_a_matrix_that_is_not_of_the_classes() -> None:
    with pytest.raises(ConfigError, match=r"shape \(2, 3\), 2 classes take \(2, 2\)"):
        plots.confusion(np.zeros((2, 3)), "ab")
    with pytest.raises(ConfigError, match="matrix holds -1; counts are 0 or more"):
        plots.confusion([[1, -1], [0, 1]], "ab")


def test_predictions_puts_the_worst_mistake_first_and_the_least_sure_right_answer_next() -> None:
    prediction = predict([0, 1, 2, 3], [0, 7, 2, 8], [0.9, 0.6, 0.5, 0.95])
    figure = plots.predictions(np.zeros((4, 1, 8, 8)), [0, 1, 2, 3], prediction, DIGITS)
    assert titles(figure) == ["✗ 8  95 %\ntrue: 3", "✗ 7  60 %\ntrue: 1", "✓ 2  50 %", "✓ 0  90 %"]
    assert figure.get_suptitle() == "2 wrong of 4, the worst first"


def test_predictions_tells_right_from_wrong_without_colour() -> None:
    prediction = predict([0, 1], [0, 7], [0.9, 0.6])
    wrong, right = plots.predictions(np.zeros((2, 8, 8)), [0, 1], prediction, DIGITS).axes
    assert wrong.patches[-1].get_linestyle() != right.patches[-1].get_linestyle()
    assert wrong.get_title().startswith("✗")
    assert right.get_title().startswith("✓")


def test_predictions_shortens_long_names_and_draws_colour() -> None:
    prediction = predict([0], [1], [0.9])
    names = ("Welsh springer spaniel", "Newfoundland dog")
    figure = plots.predictions(np.random.rand(1, 3, 8, 8), [0], prediction, names)
    assert titles(figure) == ["✗ Newfoundla…  90 %\ntrue: Welsh spri…"]
    assert png_size(figure)[0] == 787


def test_predictions_looks_up_only_the_pictures_it_draws() -> None:
    asked = []

    class Pictures:
        def __len__(self) -> int:
            return 1000

        def __getitem__(self, index: int) -> np.ndarray:
            asked.append(index)
            return np.zeros((1, 4, 4))

    prediction = predict([0] * 1000, [0] * 1000, list(np.linspace(0.5, 1, 1000)))
    figure = plots.predictions(Pictures(), [0] * 1000, prediction, DIGITS, count=6, columns=3)
    assert asked == [0, 1, 2, 3, 4, 5]
    assert figure.get_suptitle() == "0 wrong of 1,000, the least sure first"


def test_predictions_refuses_what_does_not_belong_together() -> None:
    prediction = predict([0, 1], [0, 7], [0.9, 0.6])
    with pytest.raises(ConfigError, match="hold 2, 1 and 2 entries"):
        plots.predictions(np.zeros((2, 8, 8)), [0], prediction, DIGITS)
    with pytest.raises(ConfigError, match="labels hold 7, but there are 2 classes"):
        plots.predictions(np.zeros((2, 8, 8)), [0, 1], prediction, "ab")


@pytest.mark.parametrize("epochs", [1, 30])
def test_every_figure_is_100_mm_wide(epochs: int) -> None:
    history = History([Epoch(n + 1) for n in range(epochs)])
    assert png_size(plots.curves(history))[0] == 787
    assert png_size(plots.confusion(np.eye(10, dtype=int), DIGITS))[0] == 787


def test_plots_needs_no_display_and_no_pyplot() -> None:
    code = "import sys, classicnets.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
