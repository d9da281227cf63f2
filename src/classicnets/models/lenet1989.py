"""The zip-code net of 1989, where convolutional nets trained by back-propagation begin."""

from collections import OrderedDict
from typing import Literal

import torch
from torch import nn

from ..layers import ScaledTanh, UnitBiasConv2d, draw_by_fan_in
from . import input_check
from .option_check import check_choice

__all__ = ["H2_TABLE", "LeNet1989"]

# each H2 map sees 8 of the 12 H1 maps; which ones was not published (see the class)
H2_TABLE = (
    *[(0, 1, 2, 3, 4, 5, 6, 7)] * 4,
    *[(4, 5, 6, 7, 8, 9, 10, 11)] * 4,
    *[(0, 1, 2, 3, 8, 9, 10, 11)] * 4,
)


class LeNet1989(nn.Module):
    """The zip-code net of 1989: two convolutions of stride 2, no pooling, a bias for every unit.

    9,760 parameters, 64,660 connections, 1,256 units with those of the input.

    Paper: LeCun, Boser, Denker, Henderson, Howard, Hubbard, Jackel, "Backpropagation Applied to
    Handwritten Zip Code Recognition", Neural Computation 1(4) 1989; read through karpathy's
    lecun1989-repro.

    Differences from the paper: none in the counts of units, links and parameters.

    Where our sources are silent:
        - H1 to H2: each map sees 8 of 12, not said which; here lecun1989-repro's three blocks of
          four maps, which leave out one block each.
        - Border of the hidden maps: background, -1, as around the picture.
        - Squashing: 1.7159 tanh(2x/3) on all units, the output's too.
        - Initialisation: +-2.4/F, not 2.4/sqrt(F), as LeCun et al. 1998, App. A, argue; biases 0.

    Args:
        init: "paper" (+-2.4/F), from which gradient descent starts slowly; or "modern" (variance
            1/F), which keeps the signal alive through all layers.

    Shape:
        input (N, 1, 16, 16), float, -1 (background) to 1; 15 works too; output (N, 10), within
        +-1.7159, trained towards +1 for the class and -1 elsewhere.

    Raises:
        ConfigError: the option, or the shape or type of the images, is not as above.

    Example:
        >>> LeNet1989()(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 10])
    """

    input_shape = (1, 16, 16)

    def __init__(self, *, init: Literal["paper", "modern"] = "paper") -> None:
        super().__init__()
        check_choice("init", init, ("paper", "modern"))
        self.options: dict[str, object] = {"init": init}
        self.features = nn.Sequential(
            OrderedDict(
                # (12, 8, 8), 1,068 parameters, 19,968 connections
                h1=UnitBiasConv2d(1, [(0,)] * 12, 5, (8, 8), stride=2, padding=2, border=-1.0),
                act1=ScaledTanh(),
                # (12, 4, 4), 2,592, 38,592
                h2=UnitBiasConv2d(12, H2_TABLE, 5, (4, 4), stride=2, padding=2, border=-1.0),
                act2=ScaledTanh(),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                h3=nn.Linear(12 * 4 * 4, 30),  # (30), 5,790, 5,790
                act3=ScaledTanh(),
                output=nn.Linear(30, 10),  # (10), 310, 310
                act4=ScaledTanh(),
            )
        )
        # the biases of h1 fix its map at 8x8
        self._input_rule = input_check.input_rule(self, self.features[:1], last_map=8)
        self._init_weights(init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Squashed scores of the ten digits for a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits

    def _init_weights(self, init: str) -> None:
        """Uniform, in +-2.4/F for "paper", F the inputs of the unit."""
        draw_by_fan_in(self, init)
