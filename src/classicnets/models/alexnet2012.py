"""AlexNet, exactly as printed in 2012."""

from collections import OrderedDict
from typing import Literal

import torch
from torch import nn

from ..layers import LocalResponseNorm
from . import input_check
from .option_check import check_choice, check_int

__all__ = ["AlexNetPaper"]

# alpha before the sum: as printed, and as the author's code divides it by the window's 5 maps
_LRN_ALPHAS = {"paper": 1e-4, "cuda-convnet": 1e-4 / 5}


class AlexNetPaper(nn.Module):
    """AlexNet exactly as printed in 2012: two groups, response normalisation, overlapping pools.

    60,965,224 parameters. The groups are the paper's two GPUs, which exchange maps at conv3 and
    from fc6 on.

    Paper: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", NIPS 2012, sections 3, 4.2 and 5.

    Differences from the paper:
        - Input: 224x224 printed, which gives 55x55 only where the author's code rounds up ->
          227x227, or 224x224 with conv1_padding=2.
        - Dropout: outputs halved in testing -> doubled in training, the same in expectation.
        - Initialisation: see `init`.

    Where the paper is silent or speaks twice:
        - Response norm, alpha: printed 1e-4, in the author's code a fifth of it; see `lrn`.
        - Response norm, window: whether it stops between the two halves is not said; here it runs
          across all maps of the layer, as the formula does.

    Args:
        num_classes: number of logits, at least 1.
        lrn: "paper", alpha = 1e-4 as in the printed formula (5e-4 in PyTorch's convention); or
            "cuda-convnet", the author's code, which divides alpha by the 5 maps of the window.
        conv1_padding: zeros around the image, 0 to 5.
        init: "modern", which trains from scratch: normal of deviation 1/sqrt(inputs of the unit),
            in fc8 0.01, biases 0. He's factor of 2, which makes up for ReLU, is left out, because
            the three max pools do so. Or "paper" (section 5): deviation 0.01, biases of 1 in conv2,
            conv4, conv5, fc6 and fc7, with which the loss may stay flat (caffe#327, caffe#3243).

    Shape:
        input (N, 3, 227, 227), float, normalised; heights and widths up to 258 work too, all less
        by twice conv1_padding; output (N, num_classes), logits.

    Raises:
        ConfigError: an option, or the shape or type of the images, is not as above.

    Example:
        >>> AlexNetPaper(2)(torch.zeros(1, 3, 227, 227)).shape
        torch.Size([1, 2])
    """

    input_shape: tuple[int, int, int] = (3, 227, 227)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        lrn: Literal["paper", "cuda-convnet"] = "paper",
        conv1_padding: int = 0,
        init: Literal["modern", "paper"] = "modern",
    ) -> None:
        super().__init__()
        check_int("num_classes", num_classes)
        check_int("conv1_padding", conv1_padding, 0, 5)
        check_choice("init", init, ("modern", "paper"))
        alpha = _LRN_ALPHAS[check_choice("lrn", lrn, _LRN_ALPHAS)]
        self.options: dict[str, object] = {
            "num_classes": num_classes,
            "lrn": lrn,
            "conv1_padding": conv1_padding,
            "init": init,
        }
        size = 224 if conv1_padding == 2 else 227 - 2 * conv1_padding
        self.input_shape = (3, size, size)
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 96, 11, stride=4, padding=conv1_padding),  # (96, 55, 55)
                relu1=nn.ReLU(),
                norm1=LocalResponseNorm(5, alpha, 0.75, 2.0),
                pool1=nn.MaxPool2d(3, stride=2),  # (96, 27, 27)
                conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),  # (256, 27, 27)
                relu2=nn.ReLU(),
                norm2=LocalResponseNorm(5, alpha, 0.75, 2.0),
                pool2=nn.MaxPool2d(3, stride=2),  # (256, 13, 13)
                conv3=nn.Conv2d(256, 384, 3, padding=1),  # (384, 13, 13)
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),  # (384, 13, 13)
                relu4=nn.ReLU(),
                conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),  # (256, 13, 13)
                relu5=nn.ReLU(),
                pool5=nn.MaxPool2d(3, stride=2),  # (256, 6, 6)
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                fc6=nn.Linear(256 * 6 * 6, 4096),  # (4096)
                relu6=nn.ReLU(),
                drop6=nn.Dropout(0.5),
                fc7=nn.Linear(4096, 4096),  # (4096)
                relu7=nn.ReLU(),
                drop7=nn.Dropout(0.5),
                fc8=nn.Linear(4096, num_classes),  # (num_classes)
            )
        )
        self._input_rule = input_check.input_rule(self, self.features, last_map=6)
        self._init_weights(init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        features = self.features(input_check.check(x, self._input_rule))
        logits: torch.Tensor = self.classifier(features.flatten(1))
        return logits

    def _init_weights(self, init: str) -> None:
        """Normal by fan-in; or section 5, whose biases of 1 feed ReLUs positive inputs at first."""
        ones = ("conv2", "conv4", "conv5", "fc6", "fc7") if init == "paper" else ()
        for name, layer in (*self.features.named_children(), *self.classifier.named_children()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                if init == "paper" or name == "fc8":
                    nn.init.normal_(layer.weight, std=0.01)
                else:
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                nn.init.constant_(layer.get_parameter("bias"), float(name in ones))
