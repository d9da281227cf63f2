"""Filters and tables of connections."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from classicnets import create_model, plots
from classicnets.errors import ConfigError


def test_filters_draws_every_convolution_and_names_it(make: SimpleNamespace) -> None:
    first, later = plots.filters(make.fill(create_model("lenet5"))).axes
    assert first.get_title(loc="left") == "c1: 6 maps, kernels 5×5"
    assert first.get_xlabel() == ""
    assert later.get_title(loc="left") == "c3: 16 maps, kernels 5×5"
    assert later.get_xlabel() == "columns: maps; rows: the 6 they see"


def test_filters_says_what_it_leaves_out() -> None:
    net = nn.Sequential(nn.Conv2d(3, 130, 3), nn.Conv2d(130, 20, 3))
    first, later = plots.filters(net).axes
    assert first.get_title(loc="left") == "0 Conv2d: 130 maps, kernels 3×3, the first 128"
    assert later.get_xlabel() == "columns: the first 16 maps; rows: 8 of 130 they see"


def test_filters_are_grey_at_0_white_at_the_largest_and_black_at_the_smallest() -> None:
    net = nn.Conv2d(1, 1, 3)
    net.weight.data.zero_()
    net.weight.data[0, 0, 0, 0], net.weight.data[0, 0, 2, 2] = 0.2, -0.2
    pixels = plots.filters(net).axes[0].images[0].get_array()
    assert set(np.unique(pixels.compressed())) == {0.0, 0.5, 1.0}


def test_filters_of_colour_are_drawn_in_colour() -> None:
    assert plots.filters(nn.Conv2d(3, 4, 5)).axes[0].images[0].get_array().shape[2] == 4


def test_filters_leaves_a_hole_where_a_map_is_not_seen(make: SimpleNamespace) -> None:
    dense, sparse = (
        plots.filters(make.fill(create_model(name))).axes[1].images[0].get_array().mask.mean()
        for name in ("lenet5", "lenet5_paper")
    )
    assert sparse - dense == pytest.approx((96 - 60) / 96, abs=0.05)


def test_filters_of_a_net_without_convolutions_are_refused() -> None:
    with pytest.raises(ConfigError, match="Linear has no convolution, so no filters"):
        plots.filters(nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("name", "links", "title"),
    [
        ("lenet5_paper", 60, "c3: 60 of 96 connections"),
        ("lenet1", 20, "h3: 20 of 48 connections"),
        ("lenet1989", 96, "h2: 96 of 144 connections"),
    ],
)
def test_connections_bears_a_cross_for_each_link(name: str, links: int, title: str) -> None:
    (axes,) = plots.connections(create_model(name)).axes
    assert len(axes.collections[0].get_offsets()) == links
    assert axes.get_title() == title


def test_connections_of_c3_are_those_of_the_paper() -> None:
    (axes,) = plots.connections(create_model("lenet5_paper")).axes
    crosses = {(int(x), int(y)) for x, y in axes.collections[0].get_offsets()}
    assert {y for x, y in crosses if x == 0} == {0, 1, 2}
    assert {y for x, y in crosses if x == 14} == {0, 2, 3, 5}
    assert {y for x, y in crosses if x == 15} == set(range(6))


def test_connections_of_a_dense_net_are_refused() -> None:
    with pytest.raises(ConfigError, match="LeNet5 has no layer with a table of connections; give"):
        plots.connections(create_model("lenet5"))
