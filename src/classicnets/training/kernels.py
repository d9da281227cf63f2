"""Other kernels for the same sums, where those that torch picks leave a GPU idle.

A step of a small net is dozens of kernels of a few microseconds, each with work for a fraction of
the device; torch's sums over all pixels, its products with a bias and its updates run on a handful
of processors and take several times as long as they must. The first convolution of a large net has
three channels, too few for the matrix units. What each is worth: `benchmarks/NOTES.md`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_MOST_COLUMNS = 5 << 19  # values; of more, torch's own gradient is the faster one
_LARGEST_PIECE = 1 << 16  # values that torch's fused optimizers give to one processor

_backward_of_conv: Any = torch.ops.aten.convolution_backward
_backward_of_pool: Any = torch.ops.aten.avg_pool2d_backward


class Kernels(TorchFunctionMode):
    """Within it functions of torch take a faster way to the same results, to within rounding.

    A function that is given something for which no such way is known is torch's own. The mode
    costs time at each call of torch: it is meant for steps that are captured and replayed.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, or what stands for it."""
        other = _OTHERS.get(func)
        if other is not None:
            result = other(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return func(*args, **(kwargs or {}))


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """`torch.conv2d` on (N, C, H, W), or NotImplemented."""
    if isinstance(padding, str) or groups != 1 or _pair(dilation) != (1, 1) or x.dim() != 4:
        return NotImplemented
    stride, padding = _pair(stride), _pair(padding)
    if _in_half_precision(x):
        fits = (
            weight.shape[1] <= 4
            and stride[0] == stride[1] > 1
            and weight.is_contiguous(memory_format=torch.channels_last)
            and not x.requires_grad
        )
        return _folded(x, weight, bias, stride[0], padding) if fits else NotImplemented
    if bias is None or not _in_float32(x, weight):
        return NotImplemented
    return _Convolution.apply(x, weight, bias, stride, padding)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """`torch.nn.functional.linear` on (N, inputs), or NotImplemented."""
    if bias is None or x.dim() != 2 or not _in_float32(x, weight):
        return NotImplemented
    return _Linear.apply(x, weight, bias)


def avg_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """`torch.nn.functional.avg_pool2d` over blocks without remainder, or NotImplemented."""
    size = _pair(kernel_size)
    if (
        (stride and _pair(stride) != size)
        or _pair(padding) != (0, 0)
        or divisor_override is not None
        or x.dim() != 4
        or x.shape[2] % size[0]
        or x.shape[3] % size[1]
        or not _in_float32(x)
    ):
        return NotImplemented
    return _AveragePool.apply(x, size)


def in_pieces(update: Callable[..., None]) -> Callable[..., Any]:
    """One of torch's fused optimizers, whose tensors it is given in pieces of about equal size.

    It gives a tensor of up to 65,536 values to one processor, and the others wait.
    """

    def updated(parameters: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        total = sum(parameter.numel() for parameter in parameters)
        piece = 4 * math.ceil(max(2048, total / 24) / 4)  # a launch takes some 36; 16 bytes each
        lists = [parameters, *args]
        flat = all(
            tensor.is_contiguous() for each in lists if isinstance(each, list) for tensor in each
        )
        if piece >= _LARGEST_PIECE or not flat or not _in_float32(*parameters):
            return NotImplemented
        return update(*(_cut(each, parameters, piece) for each in lists), **kwargs)

    return updated


def _cut(each: Any, parameters: Sequence[Tensor], piece: int) -> Any:
    """Tensors of the shapes of the parameters in pieces; a tensor of one number for each piece."""
    if not isinstance(each, list) or not each:
        return each
    return [
        part
        for tensor, parameter in zip(each, parameters, strict=True)
        for part in (
            tensor.detach().view(-1).split(piece)
            if tensor.shape == parameter.shape
            else [tensor] * math.ceil(parameter.numel() / piece)
        )
    ]


def _folded(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: tuple[int, int]
) -> Tensor:
    """A convolution of stride s as one of stride 1: s x s pixels become s * s channels.

    The kernel gets zeros to whole blocks of s x s. Matrix units take channels by the dozen; a
    picture has three.
    """
    after, zeros = [], []  # the picture, the kernel; of each the last side first, as F.pad has it
    for side in (1, 0):
        length, size = x.shape[2 + side], weight.shape[2 + side]
        blocks = math.ceil(size / stride)
        results = (length + 2 * padding[side] - size) // stride + 1
        after.append((results + blocks - 1) * stride - length - padding[side])
        zeros.append(blocks * stride - size)
    half = x.to(torch.get_autocast_dtype(x.device.type))
    picture = F.pad(half, (padding[1], after[0], padding[0], after[1]))
    kernel = F.pad(weight, (0, zeros[0], 0, zeros[1]))
    return F.conv2d(_unshuffled(picture, stride), _unshuffled(kernel, stride), bias)


def _unshuffled(x: Tensor, size: int) -> Tensor:
    """`pixel_unshuffle` whose result is in channels-last order, made in one copy."""
    n, channels, height, width = x.shape
    cells = x.view(n, channels, height // size, size, width // size, size)
    last = cells.permute(0, 2, 4, 1, 3, 5).reshape(n, height // size, width // size, -1)
    return last.permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    """A convolution whose gradients for weights and biases are products and sums."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any) -> Tensor:
        return torch.convolution(x, weight, bias, stride, padding, (1, 1), False, (0, 0), 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, weight, _, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        of_weight = of_bias = None
        places = gradient[0, 0].numel()
        by_columns = (
            wants_weight
            and len(weight) <= places
            and len(gradient) * places * weight[0].numel() <= _MOST_COLUMNS
        )
        of_x, of_weight, _ = _backward_of_conv(
            gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1,
            (wants_x, wants_weight and not by_columns, False),
        )  # fmt: skip
        if by_columns:
            columns = _columns(x, weight.shape[2:], ctx.stride, ctx.padding)
            by_image = gradient.flatten(2) @ columns.transpose(1, 2)
            of_weight = by_image.sum(0).view_as(weight)
        if wants_bias:
            of_bias = gradient.sum(0).sum((1, 2))
        return of_x, of_weight, of_bias, None, None


def _columns(x: Tensor, size: Sequence[int], stride: Any, padding: Any) -> Tensor:
    """The pixels under a kernel at each place: (N, C * kernel, places)."""
    if padding != (0, 0):
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    windows = x.unfold(2, size[0], stride[0]).unfold(3, size[1], stride[1])
    return windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


class _Linear(torch.autograd.Function):
    """A linear layer without torch's product that adds a bias."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.mm(x, weight.t()).add_(bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            gradient.mm(weight) if wants_x else None,
            gradient.t().mm(x) if wants_weight else None,
            torch.mv(gradient.t(), gradient.new_ones(len(gradient))) if wants_bias else None,
        )


class _AveragePool(torch.autograd.Function):
    """Average pooling over blocks, whose gradient is written in one go."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, size: Any) -> Tensor:
        return F.avg_pool2d(x, size)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.size = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # what is written in one go cannot be differentiated again
            return _backward_of_pool(
                gradient, x, ctx.size, ctx.size, (0, 0), False, True, None
            ), None
        high, wide = ctx.size
        n, channels, height, width = gradient.shape
        spread = gradient.new_empty(n, channels, height, high, width, wide)
        cells = gradient[:, :, :, None, :, None].expand_as(spread)
        torch.mul(cells, 1 / (high * wide), out=spread)
        return spread.view(x.shape), None


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (tuple(value) * 2)[:2]


def _in_half_precision(x: Tensor) -> bool:
    return x.is_cuda and torch.is_autocast_enabled("cuda")


def _in_float32(*tensors: Tensor) -> bool:
    """Return whether these are dense float32 tensors on a GPU, to be computed as such."""
    return all(
        type(x) in (Tensor, torch.nn.Parameter)
        and x.is_cuda
        and x.dtype is torch.float32
        and x.numel() > 0
        for x in tensors
    ) and not torch.is_autocast_enabled("cuda")


_OTHERS: dict[Any, Callable[..., Any]] = {
    torch.conv2d: conv2d,
    F.linear: linear,
    F.avg_pool2d: avg_pool2d,
    torch._fused_sgd_: in_pieces(torch._fused_sgd_),
    torch._fused_adam_: in_pieces(torch._fused_adam_),
    torch._fused_adamw_: in_pieces(torch._fused_adamw_),
}
