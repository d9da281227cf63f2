"""LeNetCatDog: a LeNet for large colour photographs, from a textbook chapter."""

from collections import OrderedDict

import torch
from torch import nn

from ..pooling import MaxPool2d
from . import input_check
from .option_check import check_int

__all__ = ["LeNetCatDog"]


class LeNetCatDog(nn.Module):
    """A LeNet for 224x224 colour photographs: 16 and 32 maps, linear layers 89,888-512-2.

    For cats and dogs, and for seeing what becomes of LeNet on large pictures: all but 14,048 of
    the 46,038,242 parameters stand in the linear layers.

    Source: a chapter of a Korean textbook of 2022 (no paper).

    Differences from the source:
        - Third ReLU: built and never called, so that two linear layers in a row were one -> called.
        - Output: softmax, then a loss that applies it again -> logits.

    Args:
        num_classes: number of logits, at least 1.
        in_channels: number of image channels, at least 1.

    Shape:
        input (N, in_channels, 224, 224), float, normalised; heights and widths up to 227 work too;
        output (N, num_classes), logits.

    Raises:
        ConfigError: an option, or the shape or type of the images, is not as above.

    Example:
        >>> LeNetCatDog()(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 2])
    """

    input_shape = (3, 224, 224)

    def __init__(self, num_classes: int = 2, *, in_channels: int = 3) -> None:
        super().__init__()
        check_int("num_classes", num_classes)
        check_int("in_channels", in_channels)
        self.options: dict[str, object] = {"num_classes": num_classes, "in_channels": in_channels}
        self.input_shape = (in_channels, 224, 224)
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 16, 5),  # (16, 220, 220)
                relu1=nn.ReLU(),
                pool1=MaxPool2d(2),  # (16, 110, 110)
                conv2=nn.Conv2d(16, 32, 5),  # (32, 106, 106)
                relu2=nn.ReLU(),
                pool2=MaxPool2d(2),  # (32, 53, 53)
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                fc3=nn.Linear(32 * 53 * 53, 512),  # (512)
                relu3=nn.ReLU(),
                output=nn.Linear(512, num_classes),  # (num_classes)
            )
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=53)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits
