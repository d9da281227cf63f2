"""Activations: which layers are drawn, in what order, and what stands over them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from classicnets import create_model, list_models, plots
from classicnets.errors import ConfigError


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_activations_draws_each_layer_of_lenet5_after_its_activation(make: SimpleNamespace) -> None:
    figure = plots.activations(make.fill(create_model("lenet5")), make.stroke(32))
    assert titles(figure) == [
        "input",
        "c1: 6 maps of 28×28",
        "s2: 6 maps of 14×14",
        "c3: 16 maps of 10×10",
        "s4: 16 maps of 5×5",
        "c5: 120 units",
        "f6: 84 units",
        "output: 10 units",
    ]


def test_activations_draws_the_layers_of_a_net_without_names(
    small_net: nn.Module, make: SimpleNamespace
) -> None:
    figure = plots.activations(small_net, make.stroke(12), maps=3)
    assert titles(figure) == [
        "input",
        "0 Conv2d: 4 maps of 8×8, the first 3",
        "2 MaxPool2d: 4 maps of 4×4, the first 3",
        "5 Linear: 12 units",
        "7 Linear: 10 units",
    ]


@pytest.mark.parametrize("name", list_models())
def test_activations_draws_every_net_of_the_library(name: str, make: SimpleNamespace) -> None:
    options = {"hidden": (64, 32)} if name == "alexnet" else {}
    model = create_model(name, **options)
    channels, size, _ = model.input_shape
    figure = plots.activations(model, make.stroke(size, channels))
    outputs = model(torch.zeros(1, *model.input_shape)).shape[1]
    assert titles(figure)[-1].endswith(f": {outputs:,} units")


def test_activations_names_the_outputs_and_marks_the_largest(
    small_net: nn.Module, make: SimpleNamespace
) -> None:
    image = make.stroke(12)
    labels = plots.activations(small_net, image, classes="abcdefghij").axes[-1].get_xticklabels()
    assert [label.get_text() for label in labels] == list("abcdefghij")
    bold = [label.get_text() for label in labels if label.get_fontweight() == "bold"]
    small_net.eval()
    assert bold == ["abcdefghij"[small_net(image[None]).argmax()]]


def test_activations_leaves_the_net_as_it_was(small_net: nn.Module, make: SimpleNamespace) -> None:
    small_net[1].eval()
    modes = [module.training for module in small_net.modules()]
    weights = {name: value.clone() for name, value in small_net.state_dict().items()}
    plots.activations(small_net, make.stroke(12))
    assert [module.training for module in small_net.modules()] == modes
    assert not any(module._forward_hooks for module in small_net.modules())
    assert all(torch.equal(value, weights[name]) for name, value in small_net.state_dict().items())


def test_activations_takes_arrays_and_batches_of_one(
    small_net: nn.Module, make: SimpleNamespace
) -> None:
    image = make.stroke(12)
    drawn = [
        plots.activations(small_net, one).axes[1].images[0].get_array()
        for one in (image, image[None], image.numpy())
    ]
    for other in drawn[1:]:
        np.testing.assert_array_equal(drawn[0].filled(2), other.filled(2))


def test_activations_takes_a_file_where_the_net_knows_how_to_prepare_it(
    small_net: nn.Module, make: SimpleNamespace
) -> None:
    small_net.preparation = FromName()
    assert titles(plots.activations(small_net, "seven.png"))[0] == "input"
    del small_net.preparation
    with pytest.raises(ConfigError, match="image is a str, but nothing says how to prepare it"):
        plots.activations(small_net, "seven.png")


class FromName:
    """Makes a picture of anything; its pixels are as they were."""

    def __call__(self, picture: object) -> torch.Tensor:
        return torch.full((1, 1, 12, 12), 0.5)

    def scale_and_shift(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(1 / 255), torch.tensor(0.0)


def test_activations_refuses_more_than_one_picture(small_net: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"shape \(2, 1, 12, 12\); give one picture"):
        plots.activations(small_net, torch.zeros(2, 1, 12, 12))
    with pytest.raises(ConfigError, match=r"shape \(12, 12\); give one picture"):
        plots.activations(small_net, torch.zeros(12, 12))
    with pytest.raises(ConfigError, match="maps is 0; draw at least 1 map"):
        plots.activations(small_net, torch.zeros(1, 12, 12), maps=0)


def test_activations_of_a_net_without_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="Identity calls no layer with maps or units"):
        plots.activations(nn.Identity(), torch.zeros(1, 4, 4))
