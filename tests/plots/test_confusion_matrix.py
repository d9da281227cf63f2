"""The confusion matrix."""

import numpy as np
import pytest

from classicnets import plots
from classicnets.errors import ConfigError


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
