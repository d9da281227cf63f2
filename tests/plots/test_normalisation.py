"""Local response normalisation: the numbers drawn are those of the layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from classicnets import plots
from classicnets.errors import ConfigError
from classicnets.layers import LocalResponseNorm

LAYERS = [
    LocalResponseNorm(5, 0.1, 0.75, 2.0),
    LocalResponseNorm(3, 0.02, 0.5, 1.0),
    nn.LocalResponseNorm(4, 0.1, 0.75, 2.0),
    nn.LocalResponseNorm(5, 0.3, 0.6, 1.0),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_what_is_left_is_what_the_layer_leaves(layer: nn.Module, make: SimpleNamespace) -> None:
    net = make.fill(nn.Sequential(nn.Conv2d(1, 8, 3), layer, nn.Flatten()))
    image = 3 * make.stroke(12, slant=0.5)
    figure = plots.response_norm(net, image)
    _, bars, _, shares = figure.axes[:4]
    before = net[0](image[None])[0].detach()
    after = layer(before[None])[0]
    drawn = torch.tensor(np.asarray(shares.images[0].get_array()), dtype=torch.float32)
    (x,), (y,) = shares.lines[0].get_data()
    assert any(
        torch.allclose(drawn * one, other, atol=1e-6)
        for one, other in zip(before, after, strict=True)
    )
    heights = [bar.get_height() for bar in bars.patches]
    largest = before[:, y, x].abs().max()
    expected = torch.cat([before[:, y, x], after[:, y, x]]) / largest
    assert heights == pytest.approx(expected.tolist(), rel=1e-4)


def test_response_norm_says_what_quiet_and_loud_neighbours_leave(make: SimpleNamespace) -> None:
    net = nn.Sequential(nn.Identity(), LocalResponseNorm(3, 1.0, 1.0, 1.0), nn.Flatten())
    image = torch.zeros(3, 4, 4)
    image[:, 2, 1] = 1
    figure = plots.response_norm(net, image)
    assert figure.get_suptitle().endswith("leaves 100.0 %, beside loud maps 25.0 %")
    assert figure.axes[2].lines[0].get_data() == ([1], [2])


def test_response_norm_of_a_net_without_one_is_refused(small_net: nn.Module) -> None:
    with pytest.raises(ConfigError, match="has no local response normalisation; give a net that"):
        plots.response_norm(small_net, torch.zeros(1, 12, 12))


def test_response_norm_that_is_never_called_is_refused() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = LocalResponseNorm()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(ConfigError, match="but forward does not call it; give a net that does"):
        plots.response_norm(Idle(), torch.zeros(1, 4, 4))
