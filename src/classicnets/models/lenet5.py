"""LeNet-5: as it is written today, and exactly as printed in 1998."""

from collections import OrderedDict
from typing import Literal

import torch
from torch import nn

from ..layers import RBFOutput, ScaledTanh, Subsample2d, TableConv2d, draw_by_fan_in
from ..pooling import AvgPool2d, MaxPool2d
from ..squashing import Tanh
from . import input_check
from .option_check import check_choice, check_int

__all__ = ["C3_TABLE", "LeNet5", "LeNet5Paper", "digit_codes"]

# Table I: the S2 maps that each C3 map sees
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# Fig. 3: the ten codes, 7 wide and 12 high; the lone bars on top of 0, 2, 4 and 5 are in the figure
_DIGITS = """
.#####. ...##.. .#####. ####### .#####. .#####. ..####. ####### .#####. .#####.
....... ..###.. ....... .....## ....... ....... .##.... .....## ##...## ##..###
..###.. .####.. .#####. ....##. ....... ####### ##..... .....## ##...## ##...##
.##.##. ...##.. ##...## ...##.. .##..## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. #....## ..####. .##..## ##..... ######. ...##.. .#####. ##..###
##...## ...##.. ....##. .....## ###..## .####.. ###..## ...##.. ##...## .######
##...## ...##.. ..###.. .....## ##...## ..####. ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ##...## .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ##..### ##...## ###..## ..##... ##...## ....##.
..###.. .###### ####### .#####. .###### .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
"""

_ACTIVATIONS = {"tanh": Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
_POOLINGS = {"avg": AvgPool2d, "max": MaxPool2d}


class LeNet5(nn.Module):
    """LeNet-5 as it is written today: dense C3, tanh, average pooling, logits.

    The net of courses and tutorials, for whoever wants LeNet-5 as everyone now means it.
    `activation="relu", pooling="max"` gives the textbook variant. `LeNet5Paper` is the 1998 net.

    Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11) 1998, section II.B.

    Differences from the paper:
        - C3: a table of 60 links -> all 96, because dense convolutions are what libraries have
          (2,416 parameters for 1,516).
        - C5: convolution -> linear layer, the same function on a 5x5 map, and faster.
        - Subsampling: trainable coefficient and bias, squashed -> plain pooling (44 parameters
          fewer).
        - Squashing: 1.7159 tanh(2x/3) -> tanh, or the named activation.
        - Output: distances to fixed digit codes -> a linear layer of 850 parameters, logits.
        - Initialisation: +-2.4/F -> PyTorch's own, +-1/sqrt(F), which needs no second-order steps.

    Args:
        num_classes: number of logits, at least 1.
        in_channels: number of image channels, at least 1.
        activation: "tanh", "relu" or "sigmoid", after every layer but the pools and the last.
        pooling: "avg" or "max".

    Shape:
        input (N, in_channels, 32, 32), float, normalised; heights and widths up to 35 work too;
        output (N, num_classes), logits.

    Raises:
        ConfigError: an option, or the shape or type of the images, is not as above.

    Example:
        >>> LeNet5()(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 10])
    """

    input_shape = (1, 32, 32)

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        activation: Literal["tanh", "relu", "sigmoid"] = "tanh",
        pooling: Literal["avg", "max"] = "avg",
    ) -> None:
        super().__init__()
        check_int("num_classes", num_classes)
        check_int("in_channels", in_channels)
        act = _ACTIVATIONS[check_choice("activation", activation, _ACTIVATIONS)]
        pool = _POOLINGS[check_choice("pooling", pooling, _POOLINGS)]
        self.options: dict[str, object] = {
            "num_classes": num_classes,
            "in_channels": in_channels,
            "activation": activation,
            "pooling": pooling,
        }
        self.input_shape = (in_channels, 32, 32)
        self.features = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(in_channels, 6, 5),  # (6, 28, 28)
                act1=act(),
                s2=pool(2),  # (6, 14, 14)
                c3=nn.Conv2d(6, 16, 5),  # (16, 10, 10)
                act3=act(),
                s4=pool(2),  # (16, 5, 5)
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                c5=nn.Linear(16 * 5 * 5, 120),  # (120)
                act5=act(),
                f6=nn.Linear(120, 84),  # (84)
                act6=act(),
                output=nn.Linear(84, num_classes),  # (num_classes)
            )
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits


class LeNet5Paper(nn.Module):
    """LeNet-5 exactly as printed in 1998.

    60,000 trainable parameters and 340,908 connections: C3 by table, trainable subsampling, scaled
    tanh, and an output of distances to fixed pictures of the digits.

    Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11) 1998, sections II.A, II.B, III.B and App. A.

    Differences from the paper:
        - Output: squared distance, smallest wins -> negated, so that `argmax` predicts. The paper's
          loss (eq. 8) is then minus the output at the label. Cross-entropy sees the codes as a
          linear layer of large weights and leaves F6 close to zero.

    Where the paper is silent or speaks twice:
        - Subsampling: section II.A averages four inputs, II.B adds them; here the mean.
        - Subsampling at the start: not given; here coefficient 1 and bias 0, an average.
        - Biases at the start: whether drawn, whether counted in F; here 0 and not counted.
        - Digit codes: the bars above 0, 2, 4 and 5 look accidental; here as Fig. 3 shows them.

    Args:
        init: "paper" (+-2.4/F), from which gradient descent starts slowly; or "modern" (variance
            1/F), which keeps the signal alive through all layers.

    Shape:
        input (N, 1, 32, 32), float, background -0.1 and ink 1.175; heights and widths up to 35
        work too; output (N, 10), minus the squared distances to the codes, at most 0.

    Raises:
        ConfigError: the option, or the shape or type of the images, is not as above.

    Example:
        >>> LeNet5Paper()(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 10])
    """

    input_shape = (1, 32, 32)

    def __init__(self, *, init: Literal["paper", "modern"] = "paper") -> None:
        super().__init__()
        check_choice("init", init, ("paper", "modern"))
        self.options: dict[str, object] = {"init": init}
        self.features = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(1, 6, 5),  # (6, 28, 28), 156 parameters, 122,304 connections
                act1=ScaledTanh(),
                s2=Subsample2d(6),  # (6, 14, 14), 12, 5,880
                act2=ScaledTanh(),
                c3=TableConv2d(6, C3_TABLE, 5),  # (16, 10, 10), 1,516, 151,600
                act3=ScaledTanh(),
                s4=Subsample2d(16),  # (16, 5, 5), 32, 2,000
                act4=ScaledTanh(),
                c5=nn.Conv2d(16, 120, 5),  # (120, 1, 1), 48,120, 48,120
                act5=ScaledTanh(),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                f6=nn.Linear(120, 84),  # (84), 10,164, 10,164
                act6=ScaledTanh(),
                output=RBFOutput(digit_codes()),  # (10), 840 fixed, 840
            )
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=1)
        self._init_weights(init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Minus the distances of a batch of images to the ten codes."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits

    def _init_weights(self, init: str) -> None:
        """Uniform, in +-2.4/F for "paper", F the inputs of the unit (App. A)."""
        draw_by_fan_in(self, init)


def digit_codes() -> torch.Tensor:
    """The ten codes of the output units, (10, 84), +1 for ink and -1 for paper, row by row.

    Paper: LeCun et al., Proc. IEEE 86(11) 1998, Fig. 3.
    """
    rows = [line.split() for line in _DIGITS.split("\n") if line]
    pictures = ["".join(row[digit] for row in rows) for digit in range(10)]
    return torch.tensor([[1.0 if dot == "#" else -1.0 for dot in dots] for dots in pictures])
