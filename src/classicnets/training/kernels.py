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
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

_MOST_COLUMNS = 5 << 19  # values; of more, torch's own gradient is the faster one

# of an update: torch's fused optimizers give up to 65,536 values to one processor
_LARGEST_PIECE = 1 << 16
_SMALLEST_PIECE = 1 << 11
_PIECES = 24  # about; one launch takes 36 tensors at least
_ALIGNED = 4  # values, 16 bytes, that are read at once

_backward_of_conv: Any = torch.ops.aten.convolution_backward


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


def _conv2d(
    input: Tensor,  # noqa: A002 (torch's name)
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """`torch.conv2d` on (N, C, H, W), or NotImplemented."""
    x = input
    if (
        isinstance(padding, str)
        or groups != 1
        or _pair(dilation) != (1, 1)
        or not x.dim() == weight.dim() == 4
        or x.shape[1] != weight.shape[1]
    ):
        return NotImplemented
    stride, padding = _pair(stride), _pair(padding)
    if _in_half_precision(x, weight):
        fits = (
            weight.shape[1] <= 4
            and stride[0] == stride[1] > 1
            and weight.is_contiguous(memory_format=torch.channels_last)
            and not weight.is_contiguous()  # else torch's result would not be in that order
            and not x.requires_grad
        )
        return _folded(x, weight, bias, stride[0], padding) if fits else NotImplemented
    if bias is None or not _in_float32(x, weight, bias):
        return NotImplemented
    return _Convolution.apply(x, weight, bias, stride, padding)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:  # noqa: A002
    """`torch.nn.functional.linear` on (N, inputs), or NotImplemented."""
    if (
        bias is None
        or input.dim() != 2
        or bias.shape != weight.shape[:1]
        or not _in_float32(input, weight, bias)
    ):
        return NotImplemented
    return _Linear.apply(input, weight, bias)


def _avg_pool2d(
    input: Tensor,  # noqa: A002
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
        (stride is not None and _pair(stride) != size)
        or _pair(padding) != (0, 0)
        or divisor_override is not None
        or input.dim() != 4
        or input.shape[2] % size[0]
        or input.shape[3] % size[1]
        or not _in_float32(input)
    ):
        return NotImplemented
    return _AveragePool.apply(input, size)


def _in_pieces(update: Callable[..., None]) -> Callable[..., Any]:
    """One of torch's fused optimizers, given its tensors in pieces of about equal size.

    Those of the parameters' shapes are cut; one of a single number is given to each piece.
    """

    def updated(*args: Any, **kwargs: Any) -> Any:
        lists = [each for each in args if isinstance(each, list)]
        told = [*args, *kwargs.values()]
        if not lists or sum(isinstance(each, list | tuple) for each in told) > len(lists):
            return NotImplemented
        parameters: list[Tensor] = lists[0]
        total = sum(parameter.numel() for parameter in parameters)
        piece = _ALIGNED * math.ceil(max(_SMALLEST_PIECE, total / _PIECES) / _ALIGNED)
        if (
            not parameters
            or piece >= _LARGEST_PIECE
            or not all(tensor.is_contiguous() for each in lists for tensor in each)
            or not _in_float32(*parameters)
        ):
            return NotImplemented
        return update(*(_cut(each, parameters, piece) for each in args), **kwargs)

    return updated


def _cut(tensors: Any, parameters: list[Tensor], piece: int) -> Any:
    if not isinstance(tensors, list) or not tensors:
        return tensors
    return [
        part
        for tensor, parameter in zip(tensors, parameters, strict=True)
        for part in (
            torch.split(tensor.detach().view(-1), piece)
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
    low = x.to(torch.get_autocast_dtype(x.device.type))
    picture = F.pad(low, (padding[1], after[0], padding[0], after[1]))
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
            by_image = gradient.reshape(*gradient.shape[:2], -1) @ columns.transpose(1, 2)
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

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.mm(x, weight.t()).add_(bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, weight, _ = inputs
        wants_x, wants_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if wants_weight else None, weight if wants_x else None)

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
    """Average pooling over blocks, whose gradient is a copy of small maps into large ones."""

    @staticmethod
    def forward(x: Tensor, size: Any) -> Tensor:
        return F.avg_pool2d(x, size)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.size = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        high, wide = ctx.size
        cells = (gradient / (high * wide))[:, :, :, None, :, None]
        return cells.expand(-1, -1, -1, high, -1, wide).reshape(ctx.shape), None


def _pair(value: Any) -> tuple[int, int]:
    """Both numbers of a setting that may be one for both sides."""
    both = (value, value) if hasattr(value, "__index__") else (tuple(value) * 2)[:2]
    return int(both[0]), int(both[1])


def _in_float32(*tensors: Tensor) -> bool:
    """Return whether the other kernels take these tensors and compute them in float32."""
    return all(_is_plain(x) and x.dtype is torch.float32 for x in tensors) and not (
        torch.is_autocast_enabled(tensors[0].device.type) or _is_recorded()
    )


def _in_half_precision(*tensors: Tensor) -> bool:
    """Return whether the other kernels take these tensors and autocast rounds them first."""
    kind = tensors[0].device.type
    return (
        torch.is_autocast_enabled(kind)
        and all(
            _is_plain(x) and x.dtype in (torch.float32, torch.get_autocast_dtype(kind))
            for x in tensors
        )
        and not _is_recorded()
    )


def _is_plain(x: Tensor) -> bool:
    return type(x) in (Tensor, torch.nn.Parameter) and x.numel() > 0 and _is_on_gpu(x)


def _is_on_gpu(x: Tensor) -> bool:
    return x.is_cuda


def _is_recorded() -> bool:
    """Return whether others than autograd follow a computation, who know torch's kernels alone.

    They are the transforms of `torch.func`, forward-mode derivatives, and checkpointing, which
    computes once more without the mode and compares.
    """
    if torch.compiler.is_compiling():
        return False
    return (
        torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    )


_OTHERS: dict[Any, Callable[..., Any]] = {
    torch.conv2d: _conv2d,
    F.linear: _linear,
    F.avg_pool2d: _avg_pool2d,
    torch._fused_sgd_: _in_pieces(torch._fused_sgd_),
    torch._fused_adam_: _in_pieces(torch._fused_adam_),
    torch._fused_adamw_: _in_pieces(torch._fused_adamw_),
}
