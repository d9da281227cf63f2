"""Occlusion and gradient: that they point at what the net looks at."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from classicnets import plots
from classicnets.errors import ConfigError


class Corner(nn.Module):
    """Class 1 is as likely as the mean of the lower right quarter is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x[:, :, 8:, 8:].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(bright), 4 * bright], 1)


def test_occlusion_marks_the_place_that_the_net_looks_at() -> None:
    image = torch.ones(1, 16, 16)
    picture, places = plots.occlusion(Corner(), image, patch=4, stride=2).axes[:2]
    shares = np.asarray(places.images[0].get_array())
    assert shares[:6, :6] == pytest.approx(1 / (1 + np.exp(-4)))
    assert (shares[10:, 10:] < shares[0, 0] - 0.02).all()
    for axes in (picture, places):
        x, y = axes.patches[0].get_xy()
        assert min(x, y) >= 7.5
        assert axes.patches[0].get_width() == 4


def test_occlusion_covers_every_pixel_of_any_picture() -> None:
    for height, width in ((16, 16), (17, 23), (16, 40)):
        places = plots.occlusion(Corner(), torch.ones(3, height, width)).axes[1]
        shares = np.asarray(places.images[0].get_array())
        assert shares.shape == (height, width)
        assert np.isfinite(shares).all()


def test_occlusion_asks_for_the_predicted_class_or_a_given_one() -> None:
    image = torch.ones(1, 16, 16)
    assert plots.occlusion(Corner(), image, classes="ab").get_suptitle().startswith("b: 98.2 %")
    figure = plots.occlusion(Corner(), image, classes="ab", label=0)
    assert figure.get_suptitle().startswith("a: 1.8 %")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 17}, "patch is 17; give a whole number, 1 to 16"),
        ({"patch": 4, "stride": 5}, "stride is 5; give a whole number, 1 to 4"),
        ({"stride": 0}, "stride is 0; give a whole number, 1 to 4"),
        ({"label": 2}, "label is 2; give a whole number, 0 to 1"),
        ({"label": "cat"}, "label is 'cat'; give a whole number, 0 to 1"),
    ],
)
def test_occlusion_refuses_what_lies_outside_the_picture(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plots.occlusion(Corner(), torch.ones(1, 16, 16), **options)


def test_gradient_is_bright_where_the_net_looks_and_dark_elsewhere() -> None:
    shares = np.asarray(
        plots.gradient(Corner(), torch.ones(3, 16, 16)).axes[1].images[0].get_array()
    )
    assert shares[8:, 8:] == pytest.approx(1)
    assert not shares[:8].any()


def test_gradient_leaves_the_gradients_of_the_weights_alone(
    small_net: nn.Module, make: SimpleNamespace
) -> None:
    image = make.stroke(12)
    plots.gradient(small_net, image)
    assert all(weight.grad is None for weight in small_net.parameters())
    assert not image.requires_grad
    assert small_net.training


def test_gradient_can_be_drawn_where_gradients_are_off(
    small_net: nn.Module, make: SimpleNamespace
) -> None:
    with torch.no_grad():
        assert plots.gradient(small_net, make.stroke(12)).axes


def test_gradient_refuses_an_output_that_the_picture_does_not_move() -> None:
    with pytest.raises(ConfigError, match="output a of Corner does not change with the picture"):
        plots.gradient(Corner(), torch.ones(1, 16, 16), classes="ab", label=0)
    with pytest.raises(ConfigError, match="label is -1; give a whole number, 0 to 1"):
        plots.gradient(Corner(), torch.ones(1, 16, 16), label=-1)
