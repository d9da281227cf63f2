"""AlexNet in the form of 2014, "one weird trick": the AlexNet of torchvision."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError
from . import input_check
from .option_check import check_choice, check_fraction, check_int

__all__ = ["AlexNet"]


class AlexNet(nn.Module):
    """AlexNet as everyone runs it: one tower of 64-192-384-256-256 maps, no response norm.

    It takes torchvision's weights unchanged and gives the same logits, bit for bit.
    `AlexNet(2, hidden=(4096, 512))` is the cats-vs-dogs net of 42,321,218 parameters.

    Paper: Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
    arXiv 1404.5997, 2014; layers as in torchvision.

    Differences from the paper:
        - conv4: 384 maps in the text -> 256, as in the author's cuda-convnet2 and torchvision.
        - Response normalisation after conv1 and conv2: in cuda-convnet2 -> none, as in torchvision.
        - Dropout: after each hidden layer -> before it, as in torchvision.
        - Initialisation: see `init`.

    Args:
        num_classes: number of logits, at least 1.
        hidden: widths of the two hidden linear layers.
        dropout: probability that an input of a hidden layer is dropped, 0 <= dropout < 1.
        in_channels: number of image channels, at least 1.
        init: "modern", which trains from scratch: normal of deviation 1/sqrt(inputs of the unit),
            in the last layer 0.01, biases 0. He's factor of 2, which makes up for ReLU, is left
            out, because the three max pools do so. Or "paper", the author's code: deviations 0.01
            and 0.03, biases of 1, with which the loss may stay flat (caffe#327).

    Shape:
        input (N, in_channels, 224, 224), float, normalised; any size of at least 63x63. Sizes of
        223 to 254 give the last map 6x6; other last maps are averaged or repeated to 6x6;
        output (N, num_classes), logits.

    Raises:
        ConfigError: an option, or the shape or type of the images, is not as above.

    Example:
        >>> AlexNet(2, hidden=(256, 64))(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 2])
    """

    input_shape = (3, 224, 224)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        hidden: Sequence[int] = (4096, 4096),
        dropout: float = 0.5,
        in_channels: int = 3,
        init: Literal["modern", "paper"] = "modern",
    ) -> None:
        super().__init__()
        check_int("num_classes", num_classes)
        check_int("in_channels", in_channels)
        check_fraction("dropout", dropout)
        check_choice("init", init, ("modern", "paper"))
        if not isinstance(hidden, Sequence) or len(hidden) != 2:
            raise ConfigError(f"hidden is {hidden!r}; give two widths, such as (4096, 4096)")
        fc6, fc7 = (check_int(f"hidden[{i}]", width) for i, width in enumerate(hidden))
        self.options: dict[str, object] = {
            "num_classes": num_classes,
            "hidden": [fc6, fc7],
            "dropout": dropout,
            "in_channels": in_channels,
            "init": init,
        }
        self.input_shape = (in_channels, 224, 224)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),  # (64, 55, 55)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (64, 27, 27)
            nn.Conv2d(64, 192, 5, padding=2),  # (192, 27, 27)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (192, 13, 13)
            nn.Conv2d(192, 384, 3, padding=1),  # (384, 13, 13)
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),  # (256, 13, 13)
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),  # (256, 13, 13)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (256, 6, 6)
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, fc6),  # (hidden[0])
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(fc6, fc7),  # (hidden[1])
            nn.ReLU(),
            nn.Linear(fc7, num_classes),  # (num_classes)
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=None)
        self._init_weights(init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(_to_6x6(features).flatten(1))
        return logits

    def _init_weights(self, init: str) -> None:
        """Normal by fan-in, or as in cuda-convnet2's `layers-imagenet-1gpu.cfg`."""
        layers = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        if init == "modern":
            for layer in layers:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                nn.init.zeros_(layer.get_parameter("bias"))
            nn.init.normal_(layers[-1].weight, std=0.01)
            return
        deviations = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)
        biases = (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, -7.0)
        for layer, deviation, bias in zip(layers, deviations, biases, strict=True):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.constant_(layer.get_parameter("bias"), bias)


@torch.fx.wrap
def _to_6x6(x: torch.Tensor) -> torch.Tensor:
    """Pool the last map to 6x6, if it is not; on CUDA the backward of that is not deterministic."""
    return x if x.shape[2:] == (6, 6) else F.adaptive_avg_pool2d(x, 6)
