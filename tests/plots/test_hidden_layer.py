"""The embedding of the last hidden layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from classicnets import create_model, plots
from classicnets.errors import ConfigError

DIGITS = tuple("0123456789")


def test_embedding_shows_f6_of_lenet5(make: SimpleNamespace) -> None:
    images = torch.stack([make.stroke(32, slant=n / 5) for n in range(6)])
    figure = plots.embedding(make.fill(create_model("lenet5")), images, range(6), DIGITS)
    assert figure.axes[0].get_title() == "6 pictures in f6, 84 units"


def test_embedding_keeps_the_distances_of_a_plane() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    net[1].weight.data = torch.eye(4)
    corners = torch.tensor([[0.0, 0], [4, 0], [4, 1], [0, 1]])
    images = torch.cat([corners, torch.zeros(4, 2)], 1).view(4, 1, 2, 2)
    axes = plots.embedding(net, images, [0, 0, 1, 1], "ab").axes[0]
    points = np.concatenate([drawn.get_offsets() for drawn in axes.collections])
    assert np.linalg.norm(points[0] - points[2]) == pytest.approx(17**0.5)
    assert axes.get_xlabel() == "first component, 94.1 % of the variance"


def test_embedding_is_the_same_each_time(small_net: nn.Module, make: SimpleNamespace) -> None:
    images = torch.stack([make.stroke(12, slant=n / 9) for n in range(-9, 9)])
    labels = [n % 3 for n in range(18)]
    first, second = (plots.embedding(small_net, images, labels, "abc").axes[0] for _ in range(2))
    for one, other in zip(first.collections, second.collections, strict=True):
        np.testing.assert_array_equal(one.get_offsets(), other.get_offsets())


@pytest.mark.parametrize(
    ("classes", "signs"),
    [(("cat", "dog"), "cd"), (("cat", "car"), "01"), (("$1", "%"), "01")],
)
def test_embedding_tells_classes_apart_without_colour(
    classes: tuple[str, ...], signs: str, small_net: nn.Module, make: SimpleNamespace
) -> None:
    images = torch.stack([make.stroke(12, slant=n / 3) for n in range(4)])
    axes = plots.embedding(small_net, images, [0, 1, 0, 1], classes).axes[0]
    shapes = [drawn.get_paths()[0].vertices for drawn in axes.collections]
    assert shapes[0].shape != shapes[1].shape or not np.allclose(*shapes)
    assert [text.get_text() for text in axes.texts] == list(classes)


def test_embedding_of_pictures_that_are_all_alike_can_be_drawn(small_net: nn.Module) -> None:
    axes = plots.embedding(small_net, torch.zeros(3, 1, 12, 12), [0, 1, 2], DIGITS).axes[0]
    assert axes.get_xlabel() == "first component, 0.0 % of the variance"


def test_embedding_refuses_what_it_cannot_lay_out(small_net: nn.Module) -> None:
    images = torch.zeros(3, 1, 12, 12)
    with pytest.raises(ConfigError, match="hold 3 and 2 entries; give as many of each, at least 3"):
        plots.embedding(small_net, images, [0, 1], DIGITS)
    with pytest.raises(ConfigError, match="labels hold 3, but there are 2 classes; name them all"):
        plots.embedding(small_net, images, [0, 1, 3], "ab")
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 10))
    with pytest.raises(ConfigError, match="Sequential has no hidden layer of at least 2 units"):
        plots.embedding(net, images, [0, 1, 2], DIGITS)
