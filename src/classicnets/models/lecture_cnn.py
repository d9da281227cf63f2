"""LectureCNN: two convolutions and two linear layers, from a lecture on MNIST."""

from collections import OrderedDict

import torch
from torch import nn

from ..pooling import MaxPool2d
from . import input_check
from .option_check import check_int

__all__ = ["LectureCNN"]


class LectureCNN(nn.Module):
    """Two 3x3 convolutions of 64 and 128 maps, and two linear layers.

    Short and wide: nine parameters in ten stand in the first linear layer.

    Source: a Korean lecture of 2022 on MNIST (no paper).

    Differences from the source:
        - Dimensions: Conv1d and MaxPool1d, which cannot run on images -> two; its linear layer of
          3200 = 128 x 5 x 5 inputs shows that these were meant.

    Args:
        num_classes: number of logits, at least 1.
        in_channels: number of image channels, at least 1.

    Shape:
        input (N, in_channels, 28, 28), float, normalised; heights and widths of 26 to 29 work too;
        output (N, num_classes), logits.

    Raises:
        ConfigError: an option, or the shape or type of the images, is not as above.

    Example:
        >>> LectureCNN()(torch.zeros(1, 1, 28, 28)).shape
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
                conv1=nn.Conv2d(in_channels, 64, 3),  # (64, 26, 26)
                pool1=MaxPool2d(2),  # (64, 13, 13)
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(64, 128, 3),  # (128, 11, 11)
                pool2=MaxPool2d(2),  # (128, 5, 5)
                relu2=nn.ReLU(),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                fc3=nn.Linear(128 * 5 * 5, 256),  # (256)
                relu3=nn.ReLU(),
                output=nn.Linear(256, num_classes),  # (num_classes)
            )
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits
