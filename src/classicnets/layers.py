"""Layers that torch lacks and a paper needs.

Where a layer's connections are not those of a dense one, `connections(output_size)` counts them
as the papers do: every input and the bias of every unit, for maps of that height and width.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import ConfigError
from .pooling import mean_pool
from .squashing import tanh

__all__ = [
    "LocalResponseNorm",
    "RBFOutput",
    "ScaledTanh",
    "Subsample2d",
    "TableConv2d",
    "UnitBiasConv2d",
    "draw_by_fan_in",
]


class ScaledTanh(nn.Module):
    """The squashing function 1.7159 tanh(2x/3), which leaves -1, 0 and 1 where they are.

    Its second derivative is largest near +-1, so targets of +-1 keep units out of saturation.

    Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11) 1998, section II.B and App. A.

    Shape:
        any; output of the same shape, in (-1.7159, 1.7159).

    Example:
        >>> ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0])).round(decimals=4)
        tensor([-1.,  0.,  1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Squash every value."""
        return 1.7159 * tanh(x * (2 / 3))


class Subsample2d(nn.Module):
    """Trainable subsampling: the mean of every 2x2 block, times a coefficient, plus a bias.

    One coefficient and one bias per map; they start at 1 and 0, which is plain average pooling.

    Paper: LeCun et al., Proc. IEEE 86(11) 1998, section II.A. Section II.B adds the four inputs
    instead: the same functions, with coefficients a quarter as large.

    Args:
        channels: number of maps.
    Shape:
        input (N, C, H, W); output (N, C, H // 2, W // 2), an odd last row or column is dropped.

    Example:
        >>> Subsample2d(6)(torch.zeros(1, 6, 28, 28)).shape
        torch.Size([1, 6, 14, 14])
    """

    kernel_size, stride, padding = 2, 2, 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Average, scale and shift every map."""
        return mean_pool(x) * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)

    def connections(self, output_size: tuple[int, int]) -> int:
        """Four inputs and one bias per unit."""
        return self.channels * output_size[0] * output_size[1] * (4 + 1)

    def extra_repr(self) -> str:
        """The argument."""
        return f"{self.channels}"


class TableConv2d(nn.Module):
    """A convolution in which every output map sees only the input maps its table lists.

    Only links of the table have parameters: `weight` is (links, k, k), ordered as the table is.
    `forward` lays them into a dense kernel, zero elsewhere: one dense convolution is faster than
    many small ones.

    Paper: LeCun et al., Proc. IEEE 86(11) 1998, section II.B and Table I.

    Args:
        in_channels: number of input maps.
        table: for every output map, the indices of its input maps.
        kernel_size: side of the square kernels.
    Shape:
        input (N, in_channels, H, W); output (N, len(table), H - k + 1, W - k + 1).

    Raises:
        ConfigError: an output map lists no input, one twice, or one that does not exist.

    Example:
        >>> layer = TableConv2d(3, [(0, 1), (1, 2)], kernel_size=5)
        >>> layer.weight.shape, layer(torch.zeros(1, 3, 14, 14)).shape
        (torch.Size([4, 5, 5]), torch.Size([1, 2, 10, 10]))
    """

    _positions: Tensor
    stride, padding = 1, 0

    def __init__(self, in_channels: int, table: Sequence[Sequence[int]], kernel_size: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, len(table)
        self.table = _checked_table(table, in_channels)
        self.kernel_size = kernel_size
        links = sum(map(len, table))
        self.weight = nn.Parameter(torch.empty(links, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(self.out_channels))
        self.register_buffer("_positions", torch.empty(links, dtype=torch.long), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as `nn.Conv2d` does, from +-1/sqrt(inputs of the unit); biases are 0."""
        _fill_positions(self)
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_(_fan_in(self).rsqrt())
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the dense kernel that the links make."""
        return F.conv2d(x, _dense_kernel(self), self.bias)

    def connections(self, output_size: tuple[int, int]) -> int:
        """Every weight and bias once per place of the map."""
        return output_size[0] * output_size[1] * (self.weight.numel() + self.bias.numel())

    def extra_repr(self) -> str:
        """The arguments, of the table its size."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"links={len(self.weight)}"
        )

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        _fill_positions(self)  # on the meta device, and after to_empty, they hold nothing


class UnitBiasConv2d(nn.Module):
    """A convolution by table with one bias per unit, not per map, on a border of constant value.

    The kernels are shared over the map as usual, the thresholds are not. The border stands for
    background, which is -1 in 1989's pictures, and surrounds hidden maps too.

    Paper: LeCun et al., "Backpropagation Applied to Handwritten Zip Code Recognition", Neural
    Computation 1(4) 1989.

    Args:
        in_channels: number of input maps.
        table: for every output map, the indices of its input maps.
        kernel_size: side of the square kernels.
        output_size: height and width of the output maps, which the biases fix.
        stride: step of the kernels.
        padding: width of the border.
        border: its value.
    Shape:
        input (N, in_channels, H, W); output `(N, len(table), *output_size)`.

    Raises:
        ConfigError: an output map lists no input, one twice, or one that does not exist.

    Example:
        >>> layer = UnitBiasConv2d(1, [(0,)] * 12, 5, (8, 8), stride=2, padding=2)
        >>> layer.bias.shape, layer(torch.zeros(1, 1, 16, 16)).shape
        (torch.Size([12, 8, 8]), torch.Size([1, 12, 8, 8]))
    """

    _positions: Tensor

    def __init__(
        self,
        in_channels: int,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        output_size: tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        border: float = -1.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, len(table)
        self.table = _checked_table(table, in_channels)
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.border = padding, border
        links = sum(map(len, table))
        self.weight = nn.Parameter(torch.empty(links, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(self.out_channels, *output_size))
        self.register_buffer("_positions", torch.empty(links, dtype=torch.long), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as `nn.Conv2d` does, from +-1/sqrt(inputs of the unit); biases are 0."""
        _fill_positions(self)
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_(_fan_in(self).rsqrt())
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Put the border around, convolve, add every unit's bias."""
        bordered = F.pad(x, (self.padding,) * 4, value=self.border)
        return F.conv2d(bordered, _dense_kernel(self), stride=self.stride) + self.bias

    def connections(self, output_size: tuple[int, int]) -> int:
        """Every weight once per place of the map, and one bias per unit."""
        places = output_size[0] * output_size[1]
        return places * (self.weight.numel() + self.out_channels)

    def extra_repr(self) -> str:
        """The arguments, of the table its size."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, border={self.border}, "
            f"links={len(self.weight)}"
        )

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        _fill_positions(self)  # on the meta device, and after to_empty, they hold nothing


class RBFOutput(nn.Module):
    """Radial basis function units: minus the squared distance of the input to each class's code.

    The paper's units give the distance, and the smallest one wins; negated, `argmax` predicts.

    Paper: LeCun et al., Proc. IEEE 86(11) 1998, eq. 7 (no square root, no factor 1/2).

    Args:
        codes: one row per class, (classes, inputs); fixed, kept as a buffer.
    Shape:
        input (N, inputs); output (N, classes), at most 0.

    Example:
        >>> RBFOutput(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))(torch.tensor([[1.0, 0.5]]))
        tensor([[-0.2500, -2.2500]])
    """

    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:
        """Minus the squared distances; not by the expanded square, which cancels digits."""
        return -(x.unsqueeze(1) - self.codes).square().sum(2)

    def connections(self, output_size: tuple[int, int] = (1, 1)) -> int:
        """One per input and class; there is no bias."""
        return output_size[0] * output_size[1] * self.codes.numel()

    def extra_repr(self) -> str:
        """The shape of the codes."""
        return f"{self.codes.shape[1]}, {self.codes.shape[0]}"


class LocalResponseNorm(nn.Module):
    """Response normalisation across maps: x / (k + alpha * (sum of x^2 over n adjacent maps))^beta.

    This is the printed formula; `nn.LocalResponseNorm` divides alpha by n, so its alpha is n times
    ours. The window runs across all maps of the layer, cut off at the first and last. Written
    without pooling, it is deterministic on CUDA.

    Paper: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", NIPS 2012, section 3.3.

    Args:
        n: width of the window in maps, odd.
        alpha: weight of the sum, as printed.
        beta: exponent.
        k: constant.
    Shape:
        input (N, C, H, W); output the same.

    Raises:
        ConfigError: n is even or below 1, or alpha is negative.

    Example:
        >>> LocalResponseNorm()(torch.ones(1, 96, 55, 55)).shape
        torch.Size([1, 96, 55, 55])
    """

    def __init__(self, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        if n < 1 or n % 2 == 0:
            raise ConfigError(f"n is {n}; the window has a middle, so choose an odd n, 1 or more")
        if alpha < 0:
            raise ConfigError(f"alpha is {alpha}; choose 0 or more")
        self.n, self.alpha, self.beta, self.k = n, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; alpha goes in before the square, so that float16 does not overflow."""
        squares = (x * self.alpha**0.5).square()
        padded = F.pad(squares, (0, 0, 0, 0, self.n // 2, self.n // 2))
        window = reduce(torch.add, (padded.narrow(1, i, x.shape[1]) for i in range(self.n)))
        return x * (self.k + window).pow(-self.beta)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"n={self.n}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


@torch.no_grad()
def draw_by_fan_in(net: nn.Module, init: str = "paper") -> None:
    """Draw all weights of a net uniformly, within bounds that fall with F, the inputs of the unit.

    Biases become 0 and are not counted in F; `Subsample2d` keeps what it has.

    Paper: LeCun et al., Proc. IEEE 86(11) 1998, App. A, which takes 2.4/F and not 2.4/sqrt(F).

    Args:
        net: whose convolutions and linear layers are drawn.
        init: "paper" for +-2.4/F, or "modern" for +-sqrt(3/F), a variance of 1/F.
    """
    bound, power = {"paper": (2.4, 1.0), "modern": (3**0.5, 0.5)}[init]
    for layer in net.modules():
        if isinstance(layer, TableConv2d | UnitBiasConv2d):
            layer.weight.uniform_(-bound, bound).div_(_fan_in(layer) ** power)
            layer.bias.zero_()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.uniform_(-bound, bound).div_(layer.weight[0].numel() ** power)
            if layer.bias is not None:
                layer.bias.zero_()


def _fan_in(layer: TableConv2d | UnitBiasConv2d) -> Tensor:
    """Number of inputs of the units that each link leads to: (links, 1, 1)."""
    counts = [len(maps) * layer.kernel_size**2 for maps in layer.table for _ in maps]
    return layer.weight.new_tensor(counts).view(-1, 1, 1)


def _checked_table(table: Sequence[Sequence[int]], in_channels: int) -> tuple[tuple[int, ...], ...]:
    for index, maps in enumerate(table):
        if not maps or len(set(maps)) < len(maps) or not set(maps) <= set(range(in_channels)):
            raise ConfigError(
                f"table gives output map {index} the input maps {list(maps)}; "
                f"give it at least one of 0..{in_channels - 1}, each at most once"
            )
    return tuple(map(tuple, table))


def _fill_positions(layer: TableConv2d | UnitBiasConv2d) -> None:
    """Set where in the dense (out x in) kernel each link lies, on the weight's device."""
    positions = torch.tensor(
        [row * layer.in_channels + i for row, maps in enumerate(layer.table) for i in maps],
        device=layer.weight.device,
    )
    if layer._positions.device == positions.device:
        layer._positions.copy_(positions)
    else:
        layer._positions = positions


def _dense_kernel(layer: TableConv2d | UnitBiasConv2d) -> Tensor:
    k, rows, columns = layer.kernel_size, layer.out_channels, layer.in_channels
    # index_copy, not a gather: its backward reads each link once, with nothing to accumulate
    kernel = layer.weight.new_zeros(rows * columns, k, k)
    return kernel.index_copy(0, layer._positions, layer.weight).view(rows, columns, k, k)
