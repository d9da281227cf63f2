"""Training one picture at a time, the way of 1989 and 1998, without the overhead of batches.

A net as small as LeNet-5 computes for less time than it takes to call its layers and to follow
the graph of their derivatives. So each layer is written out for one picture, forward and backward,
in as few operations as it needs; read together they are back-propagation as a textbook has it.
"""

import math
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ConfigError
from ..layers import RBFOutput, ScaledTanh, Subsample2d, TableConv2d, UnitBiasConv2d
from .losses import Loss

Shape = tuple[int, ...]


class PatternStep:
    """Learns from the pictures of a batch one after the other, with an update after each.

    The same gradients as autograd's, to rounding, in a fraction of the time.

    Args:
        net: layers that follow one another, each used once, on the CPU in float32: convolutions
            (square, without padding), those of ours, linear layers, tanh, flattening.
        loss: callable of (outputs, labels).
        optimizer: over the parameters of the net.
        input_shape: of one picture, (C, H, W); None for the net's own.

    Shape:
        images (N, C, H, W), labels (N,); gives the mean loss, a number, and the outputs
        (N, classes), those of each picture before its own update.

    Raises:
        ConfigError: a layer that is not among these, or no input_shape; at the first picture, a
            net whose layers do not follow one another.

    Example:
        >>> from classicnets import LeNet5Paper
        >>> from classicnets.training.losses import own_distance
        >>> net = LeNet5Paper()
        >>> step = PatternStep(net, own_distance, torch.optim.SGD(net.parameters(), lr=1e-4))
        >>> loss, outputs = step(torch.zeros(5, 1, 32, 32), torch.tensor([3, 1, 4, 1, 5]))
        >>> outputs.shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        input_shape: Shape | None = None,
    ) -> None:
        self._loss = loss
        self._optimizer = optimizer
        self._unproved: nn.Module | None = net
        self._cells: list[_Cell] = []
        shape: Shape | None = input_shape or getattr(net, "input_shape", None)
        if shape is None:
            raise ConfigError(
                f"input_shape is None, and {type(net).__name__} has none of its own; "
                "give the shape of one picture, such as (1, 28, 28)"
            )
        for layer in net.modules():
            if next(layer.children(), None) is None:
                self._cells.append(_cell(layer, shape))
                shape = self._cells[-1].shape

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """Learn from each picture in turn; return the mean loss and the outputs."""
        total, rows = 0.0, []
        for image, label in zip(torch.split(images, 1), torch.split(labels, 1), strict=True):
            loss, outputs = self.gradients(image, label)
            self._optimizer.step()
            total += loss.item()
            rows.append(outputs)
        return total / len(rows), torch.cat(rows)

    @torch.no_grad()
    def gradients(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradient of every parameter; return the loss and the outputs."""
        x = image[0].contiguous()
        for cell in self._cells:
            x = cell.forward(x)
        outputs = x.unsqueeze(0)
        if self._unproved is not None:
            _prove(self._unproved, image, outputs)
            self._unproved = None
        outputs.requires_grad_()
        with torch.enable_grad():
            loss = self._loss(outputs, label)
        (slope,) = torch.autograd.grad(loss, outputs)
        slope = slope[0]
        for index in range(len(self._cells) - 1, -1, -1):
            slope = self._cells[index].backward(slope, wanted=index > 0)
        return loss.detach(), outputs.detach()


class _Cell(Protocol):
    """A layer for one picture; `shape` is that of its output."""

    shape: Shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, and keep what `backward` needs."""

    def backward(self, slope: Tensor, *, wanted: bool) -> Tensor:
        """Take dE/d(output), set the gradients, return dE/d(input), or anything if not wanted."""


class _Convolution:
    """A convolution as one product of matrices: (maps, links) by (links, places)."""

    def __init__(self, layer: nn.Conv2d | TableConv2d | UnitBiasConv2d, shape: Shape) -> None:
        self._weight, self._bias = layer.weight, cast(Tensor, layer.bias)
        self._positions = None if isinstance(layer, nn.Conv2d) else layer._positions
        self._fill = layer.border if isinstance(layer, UnitBiasConv2d) else 0.0
        self._side, self._stride, self._border = (
            int(value[0]) if isinstance(value, tuple) else int(value)
            for value in (layer.kernel_size, layer.stride, layer.padding)
        )
        maps, side, stride = layer.out_channels, self._side, self._stride
        channels, *self._size = shape
        height, width = (length + 2 * self._border for length in self._size)
        places = (height - side) // stride + 1, (width - side) // stride + 1
        self.shape: Shape = (maps, *places)
        # every window that the kernel sees, as a view of the picture
        self._windows = (channels, side, side, *places)
        self._steps = (height * width, width, 1, width * stride, stride)
        self._seen = torch.empty(channels * side**2, places[0] * places[1])
        self._kernel = torch.zeros(maps, channels * side**2)  # without a link it stays 0

    def forward(self, x: Tensor) -> Tensor:
        if self._border:
            x = F.pad(x, (self._border,) * 4, value=self._fill)
        self._seen.view(self._windows).copy_(x.as_strided(self._windows, self._steps))
        if self._positions is None:
            self._kernel = self._weight.flatten(1)
        else:
            links = self._kernel.view(-1, self._side, self._side)
            links.index_copy_(0, self._positions, self._weight)
        bias = self._bias.view(self.shape[0], -1)  # one a map, or one a unit
        return torch.addmm(bias, self._kernel, self._seen).view(self.shape)

    def backward(self, slope: Tensor, *, wanted: bool) -> Tensor:
        slope = slope.view(self.shape[0], -1)
        gradient = slope @ self._seen.t()
        if self._positions is not None:
            links = gradient.view(-1, self._side, self._side)
            gradient = links.index_select(0, self._positions)
        self._weight.grad = gradient.view_as(self._weight)
        self._bias.grad = slope.sum(1) if self._bias.ndim == 1 else slope.view_as(self._bias)
        if not wanted:
            return slope
        spread = self._kernel.t() @ slope
        size, side, border = tuple(self._size), self._side, self._border
        return F.fold(spread, size, side, padding=border, stride=self._stride)


class _Linear:
    def __init__(self, layer: nn.Linear, shape: Shape) -> None:
        self._layer = layer
        self._before = shape
        self.shape: Shape = (layer.out_features,)

    def forward(self, x: Tensor) -> Tensor:
        self._x = x.reshape(-1)
        return torch.addmv(self._layer.bias, self._layer.weight, self._x)

    def backward(self, slope: Tensor, *, wanted: bool) -> Tensor:
        self._layer.weight.grad = torch.outer(slope, self._x)
        self._layer.bias.grad = slope
        return (self._layer.weight.t() @ slope).view(self._before) if wanted else slope


class _Subsampling:
    def __init__(self, layer: Subsample2d, shape: Shape) -> None:
        self._layer = layer
        self._before = shape
        self.shape: Shape = (shape[0], shape[1] // 2, shape[2] // 2)

    def forward(self, x: Tensor) -> Tensor:
        self._means = F.avg_pool2d(x, 2)
        weight, bias = self._layer.weight.view(-1, 1, 1), self._layer.bias.view(-1, 1, 1)
        return torch.addcmul(bias, self._means, weight)

    def backward(self, slope: Tensor, *, wanted: bool) -> Tensor:
        self._layer.weight.grad = (slope * self._means).sum((1, 2))
        self._layer.bias.grad = slope.sum((1, 2))
        quarter = slope * (self._layer.weight.view(-1, 1, 1) / 4)
        maps, height, width = self.shape
        four = quarter.view(maps, height, 1, width, 1).expand(-1, -1, 2, -1, 2)
        return four.reshape(self._before)


class _Tanh:
    """A tanh(S a), with derivative A S (1 - tanh(S a)^2)."""

    def __init__(self, amplitude: float, steepness: float, shape: Shape) -> None:
        self._amplitude, self._steepness = amplitude, steepness
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        self._tanh = torch.tanh(x * self._steepness)
        return self._tanh * self._amplitude

    def backward(self, slope: Tensor, *, wanted: bool) -> Tensor:
        scaled = slope * (self._amplitude * self._steepness)
        return torch.addcmul(scaled, scaled * self._tanh, self._tanh, value=-1)


class _Distances:
    def __init__(self, layer: RBFOutput) -> None:
        self._codes = layer.codes
        self.shape: Shape = (len(layer.codes),)

    def forward(self, x: Tensor) -> Tensor:
        self._differences = x - self._codes
        return self._differences.square().sum(1).neg_()

    def backward(self, slope: Tensor, *, wanted: bool) -> Tensor:
        return (slope @ self._differences).mul_(-2)


class _Flattening:
    def __init__(self, shape: Shape) -> None:
        self._before = shape
        self.shape: Shape = (math.prod(shape),)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1)

    def backward(self, slope: Tensor, *, wanted: bool) -> Tensor:
        return slope.view(self._before)


def _prove(net: nn.Module, image: Tensor, outputs: Tensor) -> None:
    """Raise unless the net gives these outputs."""
    expected = net(image)
    if expected.shape != outputs.shape or not torch.allclose(expected, outputs, 1e-3, 1e-3):
        raise ConfigError(
            f"net is {type(net).__name__}, whose forward does other things than its layers one "
            "after the other; leave out online=True, and give batches of one picture"
        )


def _cell(layer: nn.Module, shape: Shape) -> _Cell:
    if isinstance(layer, TableConv2d | UnitBiasConv2d) or (
        isinstance(layer, nn.Conv2d) and _is_plain(layer)
    ):
        return _Convolution(layer, shape)
    if isinstance(layer, nn.Linear) and layer.bias is not None:
        return _Linear(layer, shape)
    if isinstance(layer, Subsample2d) and shape[1] % 2 == shape[2] % 2 == 0:
        return _Subsampling(layer, shape)
    if isinstance(layer, ScaledTanh):
        return _Tanh(1.7159, 2 / 3, shape)
    if isinstance(layer, nn.Tanh):
        return _Tanh(1.0, 1.0, shape)
    if isinstance(layer, RBFOutput):
        return _Distances(layer)
    if isinstance(layer, nn.Flatten):
        return _Flattening(shape)
    raise ConfigError(
        f"net has a layer {layer}, for an input of {shape}, that cannot be trained "
        "online; leave out online=True, and give batches of one picture, which takes more time"
    )


def _is_plain(layer: nn.Conv2d) -> bool:
    """Return whether a convolution has square kernels, one group, a bias and no border."""
    plain = layer.groups == 1 and layer.bias is not None and set(layer.dilation) == {1}
    square = len(set(layer.kernel_size)) == len(set(layer.stride)) == 1
    return plain and square and set(layer.padding) == {0}
