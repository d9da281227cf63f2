"""Grids of pictures: which are drawn, in what order, and what stands over them."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from classicnets import plots
from classicnets.errors import ConfigError

DIGITS = tuple("0123456789")


def titles(figure: Figure) -> list[str]:
    return [title for axes in figure.axes if (title := axes.get_title())]


def test_predictions_draws_pictures_from_all_over_the_set(make: SimpleNamespace) -> None:
    asked = []

    class Pictures:
        def __len__(self) -> int:
            return 1000

        def __getitem__(self, index: int) -> np.ndarray:
            asked.append(index)
            return np.zeros((1, 4, 4))

    prediction = make.predict([0] * 1000, list(np.linspace(0.5, 1, 1000)))
    figure = plots.predictions(Pictures(), [0] * 1000, prediction, DIGITS, count=4, columns=2)
    assert asked == [0, 333, 666, 999]
    assert figure.get_suptitle() == "0 wrong of 1,000"
    assert titles(figure) == ["✓ 0  50 %", "✓ 0  67 %", "✓ 0  83 %", "✓ 0  100 %"]


def test_mistakes_puts_the_surest_wrong_answer_first_and_no_right_one(
    make: SimpleNamespace,
) -> None:
    prediction = make.predict([0, 7, 2, 8], [0.9, 0.6, 0.5, 0.95])
    figure = plots.mistakes(np.zeros((4, 1, 8, 8)), [0, 6, 2, 7], prediction, DIGITS)
    assert titles(figure) == ["✗ 8  95 %\ntrue: 7  5 %", "✗ 7  60 %\ntrue: 6  40 %"]
    assert figure.get_suptitle() == "2 wrong of 4, the worst first"


def test_mistakes_of_a_net_that_makes_none_says_so(make: SimpleNamespace) -> None:
    prediction = make.predict([0, 1], [0.9, 0.6])
    figure = plots.mistakes(np.zeros((2, 8, 8)), [0, 1], prediction, DIGITS)
    assert figure.get_suptitle() == "0 wrong of 2"
    assert not titles(figure)


def test_doubts_puts_the_closest_two_classes_first(make: SimpleNamespace) -> None:
    prediction = make.predict([3, 7, 2, 8], [0.9, 0.6, 0.52, 0.95])
    figure = plots.doubts(np.zeros((4, 1, 8, 8)), [3, 6, 2, 8], prediction, DIGITS, count=2)
    assert titles(figure) == ["✓ 2  52 %\nor 1  48 %", "✗ 7  60 %\ntrue: 6  40 %"]
    assert figure.get_suptitle() == "the 2 most doubted of 4, 1 of them wrong"


def test_a_grid_tells_right_from_wrong_without_colour(make: SimpleNamespace) -> None:
    prediction = make.predict([7, 1], [0.6, 0.9])
    wrong, right = plots.predictions(np.zeros((2, 8, 8)), [0, 1], prediction, DIGITS).axes[:2]
    assert wrong.patches[-1].get_linestyle() != right.patches[-1].get_linestyle()
    assert wrong.get_title().startswith("✗")
    assert right.get_title().startswith("✓")


def test_a_grid_shortens_long_names_and_draws_colour(make: SimpleNamespace) -> None:
    names = ("Welsh springer spaniel", "Newfoundland dog")
    prediction = make.predict([1], [0.9], classes=2)
    picture = make.stroke(8, channels=3)
    figure = plots.predictions(picture[None], [0], prediction, names)
    assert titles(figure) == ["✗ Newfoundla…  90 %\ntrue: Welsh spri…  10 %"]
    assert figure.axes[0].images[0].get_array().shape == (8, 8, 4)


@pytest.mark.parametrize("draw", [plots.predictions, plots.mistakes, plots.doubts])
def test_a_grid_refuses_what_does_not_belong_together(draw, make: SimpleNamespace) -> None:
    prediction = make.predict([0, 7], [0.9, 0.6])
    with pytest.raises(ConfigError, match="hold 2, 1 and 2 entries"):
        draw(np.zeros((2, 8, 8)), [0], prediction, DIGITS)
    with pytest.raises(ConfigError, match="labels hold 7, but there are 2 classes"):
        draw(np.zeros((2, 8, 8)), [0, 1], prediction, "ab")
    with pytest.raises(ConfigError, match="count is 0; draw at least 1 picture"):
        draw(np.zeros((2, 8, 8)), [0, 1], prediction, DIGITS, count=0)


def test_doubts_of_a_net_with_one_output_are_refused(make: SimpleNamespace) -> None:
    prediction = make.Prediction(np.zeros(2, int), np.ones((2, 1)))
    with pytest.raises(ConfigError, match="one class, and no doubt; give a net with two or more"):
        plots.doubts(np.zeros((2, 8, 8)), [0, 0], prediction, "a")
