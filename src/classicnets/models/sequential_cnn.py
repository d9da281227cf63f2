"""SequentialCNN: three convolutions and two linear layers, from a tutorial on MNIST."""

from collections import OrderedDict

import torch
from torch import nn

from ..pooling import MaxPool2d
from . import input_check
from .option_check import check_int

__all__ = ["SequentialCNN"]


class SequentialCNN(nn.Module):
    """Three 5x5 convolutions of 16, 32 and 64 maps, and two linear layers.

    A first net to write oneself: ReLU and max pooling, no padding, nothing else.

    Source: a Korean tutorial of 2021 on MNIST (no paper).

    Differences from the source:
        - Batch: its size is a global that `forward` reads -> any batch size.

    Args:
        num_classes: number of logits, at least 1.
        in_channels: number of image channels, at least 1.

    Shape:
        input (N, in_channels, 28, 28), float, normalised; heights and widths up to 31 work too;
        output (N, num_classes), logits.

    Raises:
        ConfigError: an option, or the shape or type of the images, is not as above.

    Example:
        >>> SequentialCNN()(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """

    input_shape = (1, 28, 28)

    def __init__(self, num_classes: int = 10, *, in_channels: int = 1) -> None:
        super().__init__()
        check_int("num_classes", num_classes)
        check_int("in_channels", in_channels)
        self.options: dict[str, object] = {"num_classes": num_classes, "in_channels": in_channels}
        self.input_shape = (in_channels, 28, 28)
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 16, 5),  # (16, 24, 24)
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(16, 32, 5),  # (32, 20, 20)
                relu2=nn.ReLU(),
                pool2=MaxPool2d(2),  # (32, 10, 10)
                conv3=nn.Conv2d(32, 64, 5),  # (64, 6, 6)
                relu3=nn.ReLU(),
                pool3=MaxPool2d(2),  # (64, 3, 3)
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                fc4=nn.Linear(64 * 3 * 3, 100),  # (100)
                relu4=nn.ReLU(),
                output=nn.Linear(100, num_classes),  # (num_classes)
            )
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits
