"""Pooling in 2x2 blocks, several times as fast as torch's own on a CPU.

Both classes are torch's, and give its results within rounding. They take their own way where it is
the faster one: float32 maps of even sides, in (N, C, H, W) order, on a CPU. Elsewhere, and when a
net is compiled, exported or traced, they are torch's to the bit.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["AvgPool2d", "MaxPool2d", "mean_pool"]


class AvgPool2d(nn.AvgPool2d):
    """Average pooling, 2x2 blocks by one matrix product.

    Shape:
        as `torch.nn.AvgPool2d`.

    Example:
        >>> AvgPool2d(2)(torch.arange(16.0).view(1, 1, 4, 4)).flatten()
        tensor([ 2.5000,  4.5000, 10.5000, 12.5000])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """The mean of every window."""
        plain = self.count_include_pad and self.divisor_override is None
        if plain and _are_blocks(self.kernel_size, self.stride, self.padding):
            return mean_pool(input)
        return super().forward(input)


class MaxPool2d(nn.MaxPool2d):
    """Max pooling, 2x2 blocks by whole rows and columns where no gradient is wanted.

    With a gradient torch's own is as fast as any: it must find the place of each maximum.

    Shape:
        as `torch.nn.MaxPool2d`.

    Example:
        >>> MaxPool2d(2)(torch.arange(16.0).view(1, 1, 4, 4)).flatten()
        tensor([ 5.,  7., 13., 15.])
    """

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # noqa: A002
        """The largest value of every window."""
        if (
            _suits(input)
            and not (input.requires_grad and torch.is_grad_enabled())
            and _are_blocks(self.kernel_size, self.stride, self.padding)
            and self.dilation in (1, (1, 1))
            and not self.return_indices
        ):
            in_rows = torch.maximum(input[..., 0::2], input[..., 1::2])
            largest: Tensor = torch.maximum(in_rows[..., 0::2, :], in_rows[..., 1::2, :])
            return largest
        result: Tensor | tuple[Tensor, Tensor] = super().forward(input)
        return result


def mean_pool(x: Tensor) -> Tensor:
    """The mean of every 2x2 block; an odd last row or column is dropped.

    Two rows of a map lie one behind the other, so a row of means is their product with a matrix.

    Shape:
        x (N, C, H, W); result (N, C, H // 2, W // 2).
    """
    if not _suits(x):
        return F.avg_pool2d(x, 2)
    n, channels, height, width = x.shape
    return x.view(n, channels, height // 2, 2 * width) @ _means(width)


@lru_cache
def _means(width: int) -> Tensor:
    """The matrix (2 * width, width // 2) that takes two rows to the means of their blocks."""
    with torch.inference_mode(False):
        columns = torch.eye(width // 2).repeat_interleave(2, 0)
        return torch.cat((columns, columns)) / 4


def _are_blocks(kernel_size: Any, stride: Any, padding: Any) -> bool:
    return kernel_size in (2, (2, 2)) and stride in (2, (2, 2)) and padding in (0, (0, 0))


def _suits(x: Tensor) -> bool:
    """Return whether the fast ways take this map: see the top of the file."""
    return (
        type(x) is Tensor
        and x.dtype is torch.float32
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.is_contiguous()
        and x.shape[2] % 2 == 0 == x.shape[3] % 2
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )
