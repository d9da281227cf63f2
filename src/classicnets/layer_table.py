"""A net layer by layer: the arithmetic behind each shape, what the layer holds, costs and sees."""

import copy
import math
from collections import OrderedDict
from dataclasses import asdict, dataclass
from functools import partial
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from . import layers
from .errors import ConfigError
from .shapes import IntOrPair, Window, dropped_pixels, formula, receptive_field, same_padding

__all__ = ["LayerRow", "Summary", "summary"]

_POOLS = (nn.AvgPool2d, nn.MaxPool2d)
_OUR_WINDOWS = (layers.Subsample2d, layers.TableConv2d, layers.UnitBiasConv2d)
_WINDOWS = (nn.Conv2d, *_POOLS, *_OUR_WINDOWS)
_FULL = (nn.Linear, layers.RBFOutput)
_ACTIVATIONS = (nn.ReLU, nn.Sigmoid, nn.Tanh, layers.ScaledTanh)
_NORMS = (nn.BatchNorm2d, nn.LocalResponseNorm, layers.LocalResponseNorm)
_POINTWISE = (*_ACTIVATIONS, *_NORMS, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity)
_LARGEST_TRIED = 512


@dataclass(frozen=True)
class LayerRow:
    """One layer as `forward` called it.

    `parameters` are trainable; `fixed` numbers are frozen, or buffers of the `state_dict`. Both
    are counted at the layer's first use only. `connections` are counted as in the papers of
    1989-98: the inputs of every unit, and its bias. `dropped` are the rows and columns of the
    input that no window reads. The last three are ints where height and width agree, else (H, W).
    None stands for what is not known of such a layer.
    """

    name: str
    type: str
    formula: str | None
    output_shape: tuple[int, ...] | None
    parameters: int
    fixed: int
    connections: int | None
    multiply_adds: int | None
    receptive_field: IntOrPair | None
    jump: IntOrPair | None
    dropped: IntOrPair


@dataclass(frozen=True, repr=False)
class Summary:
    """The rows of a net and their totals; prints as a table, in a notebook too.

    `parameters` and `fixed` are the whole model's, whether or not they lie in a layer of the table.
    """

    model: str
    input_shape: tuple[int, int, int]
    rows: list[LayerRow]
    parameters: int
    fixed: int
    connections: int
    multiply_adds: int

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        table = _text(_lines(self.rows), self._total())
        return "\n".join([self._title(), "", table, *self._notes()])

    def _repr_html_(self) -> str:
        return _html(self._title(), [*_lines(self.rows), self._total()], self._notes())

    def _title(self) -> str:
        return f"{self.model}, input {_cell(self.input_shape)}"

    def _total(self) -> list[str]:
        numbers = map(_cell, (self.parameters, self.connections, self.multiply_adds))
        return ["total", "", "", *numbers, "", ""]

    def _notes(self) -> list[str]:
        """What stands in the table, or does not, and needs a word."""
        elsewhere = self.parameters - sum(row.parameters for row in self.rows)
        notes = {
            f"(n) fixed numbers, not trained: {self.fixed:,}": self.fixed,
            f"parameters that lie in none of these layers: {elsewhere:,}": elsewhere,
            "! rows (x columns) that no window reads": any(row.dropped for row in self.rows),
        }
        return [note for note, applies in notes.items() if applies]


def summary(model: nn.Module, input_shape: tuple[int, int, int] | None = None) -> Summary:
    """Run a copy of the net with blank weights on one blank image and tabulate its layers.

    The model stays as it is, and its weights are not copied: AlexNet takes a tenth of a second.
    Layers are modules: what `forward` does by functions has no row, and after it the receptive
    field is unknown ("-") up to the next layer that sees the whole picture.

    Args:
        model: a net that takes one batch of images.
        input_shape: (C, H, W); the model's own `input_shape` unless given.

    Raises:
        ConfigError: no input shape is known, or the net fails on it; then the message has the
            smallest square that works and the table up to the layer that fails.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2))
        >>> summary(net, (1, 28, 28))
        Sequential, input 1x28x28
        <BLANKLINE>
        layer  type       output   parameters  connections  multiply-adds  field  jump
        ------------------------------------------------------------------------------
        0      Conv2d     6x24x24         156       89,856         86,400      5     1
               (28 - 5 + 2*0)/1 + 1 = 24
        1      MaxPool2d  6x12x12                    3,456                     6     2
               (24 - 2 + 2*0)/2 + 1 = 12
        ------------------------------------------------------------------------------
        total                             156       93,312         86,400
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    shape = _checked_shape(model, input_shape)
    twin = _blank_copy(model)
    trace, error = _follow(twin, shape)
    if error is not None:
        raise ConfigError(_explanation(model, shape, trace, error)) from error
    parameters, fixed = _count(twin, set())
    return Summary(
        type(model).__name__,
        shape,
        trace.rows,
        parameters,
        fixed,
        connections=sum(row.connections or 0 for row in trace.rows),
        multiply_adds=sum(row.multiply_adds or 0 for row in trace.rows),
    )


def _checked_shape(model: nn.Module, given: Any) -> tuple[int, int, int]:
    shape = getattr(model, "input_shape", None) if given is None else given
    if shape is None:
        raise ConfigError(
            f"input_shape is not given and {type(model).__name__} has none of its own; "
            "give (C, H, W), as in summary(model, (3, 224, 224))"
        )
    match shape:
        case [int(channels), int(height), int(width)] if min(shape) >= 1:
            return channels, height, width
    raise ConfigError(f"input_shape is {shape!r}; give (C, H, W), three ints of at least 1")


def _blank_copy(model: nn.Module, meta: bool = False) -> nn.Module:
    """A copy in eval mode that shares no state, memory or hook with `model`.

    The memo tells `deepcopy` what to put in each tensor's place: the weights are never copied,
    and stay uninitialised, for only their shapes matter. On the meta device nothing is computed.
    """
    device = "meta" if meta or any(weight.is_meta for weight in model.parameters()) else "cpu"
    memo: dict[int, Any] = {}
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            memo[id(hooks)] = OrderedDict()
        for held in (module._parameters, module._buffers, vars(module)):
            for tensor in held.values():
                if isinstance(tensor, nn.Parameter):
                    blank = torch.empty_like(tensor, device=device, requires_grad=False)
                    memo[id(tensor)] = nn.Parameter(blank, tensor.requires_grad)
                elif isinstance(tensor, Tensor):
                    memo[id(tensor)] = tensor.detach().to(device, copy=True)
    return copy.deepcopy(model, memo).float().eval()


def _failure(net: nn.Module, shape: tuple[int, int, int]) -> Exception | None:
    """What the net raises on one image of this shape; None where it works."""
    device = next((parameter.device for parameter in net.parameters()), None)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            net(torch.zeros(1, *shape, device=device))
    except Exception as error:
        return error
    return None


def _follow(net: nn.Module, shape: tuple[int, int, int]) -> tuple["_Trace", Exception | None]:
    """Run a copy that nobody else uses, with hooks on every module."""
    trace = _Trace(shape)
    for name, module in net.named_modules():
        module.register_forward_pre_hook(partial(trace.enter, name))
        module.register_forward_hook(partial(trace.leave, name))
    return trace, _failure(net, shape)


class _Trace:
    """One run: its rows, the modules it is in, and the stack of windows behind each tensor."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.rows: list[LayerRow] = []
        self.running: list[str] = []
        self._counted: set[int] = set()
        self._picture = Window(shape[1:])
        # by storage, which views share; the tensor is kept lest another take its place
        self._stacks: dict[int, tuple[Tensor, tuple[Window, ...] | None]] = {}

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Forward pre-hook; where a window does not fit, our error has the numbers."""
        if not self.running:
            self._stacks[_storage(args[0])] = (args[0], ())
        self.running.append(f"{name} ({type(module).__name__})")
        if (window := _window(module)) and args[0].ndim >= 3:
            formula(args[0].shape[-2:], *window)

    def leave(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forward hook."""
        self.running.pop()
        if list(module.children()):
            return
        window, shape = _window(module), None
        stack = self._stack_after(module, window, *args[:1])
        if isinstance(output, Tensor):
            self._stacks[_storage(output)] = (output, stack)
            shape = tuple(output.shape[1:])
        seen = None if stack is None else receptive_field((Window((1, 1)), *stack))[-1]
        parameters, fixed = _count(module, self._counted)
        connections, multiply_adds = _work(module, shape)
        row = LayerRow(
            name=name or type(module).__name__,
            type=type(module).__name__,
            formula=formula(args[0].shape[-2:], *window) if window else None,
            output_shape=shape,
            parameters=parameters,
            fixed=fixed,
            connections=connections,
            multiply_adds=multiply_adds,
            receptive_field=_plain(seen.size) if seen else None,
            jump=_plain(seen.jump) if seen and shape and len(shape) == 3 else None,
            dropped=_plain(dropped_pixels(args[0].shape[-2:], *window)) if window else 0,
        )
        self.rows.append(row)

    def _stack_after(
        self, layer: nn.Module, window: "_Numbers | None", x: object = None
    ) -> tuple[Window, ...] | None:
        if not isinstance(x, Tensor):
            return None
        if isinstance(layer, _FULL) and x.ndim == 2:
            return (self._picture,)
        _, stack = self._stacks.get(_storage(x), (x, None))
        if stack is None or isinstance(layer, _POINTWISE):
            return stack
        return (*stack, Window(*window[:4])) if window else None


# kernel size, stride, padding, dilation, ceil mode
_Numbers = tuple[IntOrPair, IntOrPair, IntOrPair, IntOrPair, bool]


def _window(layer: Any) -> _Numbers | None:
    """The numbers of a layer's window, where it has one that they describe."""
    if not any(isinstance(layer, kind) for kind in _WINDOWS):
        return None
    padding, dilation = getattr(layer, "padding", 0), getattr(layer, "dilation", 1)
    if padding == "same":
        try:
            padding = same_padding(layer.kernel_size, 1, dilation)
        except ConfigError:  # an even window, padded more on one side
            return None
    padding = 0 if padding == "valid" else padding
    return layer.kernel_size, layer.stride, padding, dilation, getattr(layer, "ceil_mode", False)


def _count(module: nn.Module, counted: set[int]) -> tuple[int, int]:
    """Trainable and fixed numbers of a module, but for the tensors counted before."""
    trainable = fixed = 0
    for tensor in module.state_dict(keep_vars=True).values():
        if isinstance(tensor, Tensor) and id(tensor) not in counted:
            counted.add(id(tensor))
            if tensor.requires_grad:
                trainable += tensor.numel()
            elif tensor.is_floating_point():
                fixed += tensor.numel()
    return trainable, fixed


def _work(layer: Any, shape: tuple[int, ...] | None) -> tuple[int | None, int | None]:
    """Connections and multiply-adds of a layer whose output has this shape."""
    if shape is None:
        return None, None
    units = math.prod(shape)
    if isinstance(layer, _POOLS):
        kernel = layer.kernel_size
        return units * (math.prod(kernel) if isinstance(kernel, tuple) else kernel**2), 0
    biases = units if getattr(layer, "bias", None) is not None else 0
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        inputs = units * layer.weight[0].numel()
        return inputs + biases, inputs
    if isinstance(layer, (*_OUR_WINDOWS, layers.RBFOutput)):
        connections = layer.connections(shape[-2:] if len(shape) == 3 else (1, 1))
        return connections, connections - biases
    return (None, None) if any(True for _ in layer.parameters()) else (0, 0)


def _explanation(
    model: nn.Module, shape: tuple[int, int, int], trace: _Trace, error: Exception
) -> str:
    """Why the net fails, the smallest square on which it does not, and the table so far."""
    refused = isinstance(error, ConfigError) and len(trace.running) == 1 and not trace.rows
    if refused and hasattr(model, "features") and hasattr(model, "classifier"):
        # stopped by the net's own check: see how far its layers would get
        twin = _blank_copy(model)
        features, classifier = map(twin.get_submodule, ("features", "classifier"))
        parts = OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier)
        trace, inside = _follow(nn.Sequential(parts), shape)
        error = inside or error
    blame = f"{trace.running[-1]} fails: " if len(trace.running) > 1 else ""
    # a net's own check costs nothing to ask; without one, the layers up to the failure would run
    works = _smallest_square(_blank_copy(model, meta=not refused), shape[0])
    table = f"\n\n{_text(_lines(trace.rows))}" if trace.rows else ""
    refusal = f"{type(model).__name__} cannot take {_cell(shape)}"
    return f"{refusal}, the smallest square that works: {works}; {blame}{error}{table}"


def _smallest_square(net: nn.Module, channels: int) -> str:
    """The smallest input that passes, in the channels given or else in those of the first layer."""
    first = (vars(layer)["in_channels"] for layer in net.modules() if "in_channels" in vars(layer))
    for channels_tried in dict.fromkeys((channels, next(first, channels))):
        for side in range(1, _LARGEST_TRIED + 1):
            if _failure(net, (channels_tried, side, side)) is None:
                return _cell((channels_tried, side, side))
    return f"none up to {_LARGEST_TRIED}x{_LARGEST_TRIED}"


_HEADS = ["layer", "type", "output", "parameters", "connections", "multiply-adds", "field", "jump"]
_WORDS = 3  # so many columns before the numbers


def _lines(rows: list[LayerRow]) -> list[list[str]]:
    """The cells of every layer; short lines are names of containers and formulas."""
    lines = []
    parents: list[str] = []
    for row in rows:
        *path, leaf = row.name.split(".")
        for i, part in enumerate(path):
            if path[: i + 1] != parents[: i + 1]:
                lines.append(["  " * i + part])
        parents = path
        fixed = f"({row.fixed:,})" if row.fixed else ""
        words = ["  " * len(path) + leaf, row.type, _cell(row.output_shape)]
        numbers = (row.connections, row.multiply_adds, row.receptive_field, row.jump)
        lines.append([*words, _cell(row.parameters) or fixed, *map(_cell, numbers)])
        if row.formula:
            mark = f"  ! drops {_cell(row.dropped)}" if row.dropped else ""
            lines.append(["", row.formula + mark])
    return lines


def _text(lines: list[list[str]], total: list[str] | None = None) -> str:
    whole = [cells for cells in [_HEADS, *lines, total or _HEADS] if len(cells) > _WORDS]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    rule = ["-" * (sum(widths) + 2 * len(widths) - 2)]
    text = []
    for cells in [_HEADS, rule, *lines, *([rule, total] if total else [])]:
        words = map(str.ljust, cells[:_WORDS], widths)
        numbers = map(str.rjust, cells[_WORDS:], widths[_WORDS:])
        text.append("  ".join([*words, *numbers]).rstrip())
    return "\n".join(text)


def _html(title: str, lines: list[list[str]], notes: list[str]) -> str:
    html = [f"<table><caption>{escape(title)}</caption>"]
    for tag, cells in [("th", _HEADS), *(("td", cells) for cells in lines)]:
        html.append("<tr>")
        for i, cell in enumerate(cells, 1):
            style = f"text-align:{'left' if i <= _WORDS else 'right'};white-space:pre"
            span = f' colspan="{len(_HEADS) - i + 1}"' if i == len(cells) else ""
            html.append(f'<{tag} style="{style}"{span}>{escape(cell)}</{tag}>')
        html.append("</tr>")
    return "".join([*html, "</table>", *(f"<div>{escape(note)}</div>" for note in notes)])


def _cell(value: tuple[int, ...] | int | None) -> str:
    """6x28x28, or 1,516; nothing for 0, a dash for what is not known."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return "-" if value is None else f"{value:,}" if value else ""


def _plain(value: IntOrPair) -> IntOrPair:
    """One int for a pair of equal ones."""
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else value


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)
