"""LeNet-1, the first net of the LeNet family that subsamples."""

from collections import OrderedDict
from typing import Literal

import torch
from torch import nn

from ..layers import ScaledTanh, Subsample2d, TableConv2d, draw_by_fan_in
from . import input_check
from .option_check import check_choice

__all__ = ["H3_TABLE", "LeNet1"]

# Table 1: the H2 maps that each H3 map sees; two halves that never meet
H3_TABLE = (
    (0,), (0, 1), (0, 1), (1,), (0, 1), (0, 1),
    (2,), (2, 3), (2, 3), (3,), (2, 3), (2, 3),
)  # fmt: skip


class LeNet1(nn.Module):
    """LeNet-1: two convolutions, the second by table, each followed by trainable subsampling.

    2,578 parameters and 98,442 connections, which later LeNets multiply.

    Paper: LeCun, Boser, Denker, Henderson, Howard, Hubbard, Jackel, "Handwritten Digit Recognition
    with a Back-Propagation Network", NIPS 2, 1989 (printed 1990), Table 1 and the totals of p. 402;
    named LeNet-1 in LeCun et al. 1998, section III.C.7.

    Differences from the paper: none in the counts of units, links and parameters.

    Where our sources are silent:
        - Squashing: 1.7159 tanh(2x/3), as in the papers before and after; between layers, so that
          the outputs are not bounded.
        - Initialisation: +-2.4/F, from 1998, App. A; biases 0; subsampling starts as an average.

    Args:
        init: "paper" (+-2.4/F), from which gradient descent starts slowly; or "modern" (variance
            1/F), which keeps the signal alive through all layers.

    Shape:
        input (N, 1, 28, 28), float, a 16x16 digit centred on background, -1 to 1; heights and
        widths up to 31 work too; output (N, 10), trained towards +1 for the class and -1 elsewhere.

    Raises:
        ConfigError: the option, or the shape or type of the images, is not as above.

    Example:
        >>> LeNet1()(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """

    input_shape = (1, 28, 28)

    def __init__(self, *, init: Literal["paper", "modern"] = "paper") -> None:
        super().__init__()
        check_choice("init", init, ("paper", "modern"))
        self.options: dict[str, object] = {"init": init}
        self.features = nn.Sequential(
            OrderedDict(
                h1=nn.Conv2d(1, 4, 5),  # (4, 24, 24), 104 parameters, 59,904 connections
                act1=ScaledTanh(),
                h2=Subsample2d(4),  # (4, 12, 12), 8, 2,880
                act2=ScaledTanh(),
                h3=TableConv2d(4, H3_TABLE, 5),  # (12, 8, 8), 512, 32,768
                act3=ScaledTanh(),
                h4=Subsample2d(12),  # (12, 4, 4), 24, 960
                act4=ScaledTanh(),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                output=nn.Linear(12 * 4 * 4, 10),  # (10), 1,930, 1,930
            )
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=4)
        self._init_weights(init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the ten digits for a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits

    def _init_weights(self, init: str) -> None:
        """Uniform, in +-2.4/F for "paper", F the inputs of the unit (LeCun et al. 1998, App. A)."""
        draw_by_fan_in(self, init)
