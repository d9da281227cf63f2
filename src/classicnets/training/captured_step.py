"""A step captured once as a CUDA graph and replayed: small nets spend their time in launches."""

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .kernels import Kernels
from .module_state import attributes, changes, is_replaced, put_back

Learn = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class CapturedStep:
    """Learns from batches of one shape by replaying a graph; from any other batch eagerly.

    The first steps are eager ones that count, on a stream of their own, so that libraries are set
    up and the optimizer has its state: nothing is undone afterwards. Capturing computes nothing.
    What the optimizer was told is part of the graph, but for a rate held on the device; once it is
    told something else, all further steps are eager. All steps run with `Kernels`, so that those
    of a resumed run are the same wherever they are eager.

    Args:
        learn: the whole eager step: forward, loss, backward, update, gradients cleared; returns
            the loss and the outputs, both detached.
        net: the module that `learn` trains. One that gives an attribute a new value is not
            captured, unless that comes from its weights: it is no state, and the graph renews it.
        optimizer: the one that `learn` uses.
        forget: clears what a step that failed in its middle has left: gradients above all.
        device: the GPU.
    """

    EAGER_STEPS = 3  # of a shape, before it is captured
    PATIENCE = 30  # steps until it is told that no shape has been captured

    def __init__(
        self,
        learn: Learn,
        net: nn.Module,
        optimizer: Optimizer,
        forget: Callable[[], None],
        device: torch.device,
    ) -> None:
        self._learn_by_torch = learn
        self._net = net
        self._optimizer = optimizer
        self._forget = forget
        self._stream = _side_stream(device, threading.get_ident())
        self._seen: Counter[Any] = Counter()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._shape: Any = None  # of the batches that the graph learns from
        self._told: list[tuple[dict[str, Any], list[tuple[str, Any]]]] = []
        self._strays = 0  # batches of other shapes in a row
        self._failed = False

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from a batch; return its loss and the outputs."""
        if self._failed:
            return self._learn(images, labels)
        shape = images.shape, images.dtype, labels.shape, labels.dtype
        if self._graph is None:
            self._seen[shape] += 1
            if self._seen[shape] <= self.EAGER_STEPS:
                if self._seen.total() == self.PATIENCE:
                    warn_eager(
                        f"of {self.PATIENCE} batches no {self.EAGER_STEPS + 1} have the same shape"
                    )
                return self._learn_aside(images, labels)
            self._capture(images, labels)
            self._shape = shape
        elif (name := self._changed()) is not None:
            self._give_up(f"{name!r} of the optimizer has changed, which a graph cannot follow")
        if self._graph is None:
            return self._learn(images, labels)
        if shape != self._shape:
            self._strays += 1
            if self._strays == 2:  # one ends each epoch
                warn_eager(
                    f"batches of other shapes than {tuple(self._images.shape)} come in a row"
                )
            return self._learn(images, labels)
        self._strays = 0
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss.clone(), self._outputs.clone()

    def _learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with Kernels():
            return self._learn_by_torch(images, labels)

    def _learn_aside(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        current = torch.cuda.current_stream(images.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self._learn(images, labels)
        current.wait_stream(self._stream)
        for tensor in (images, labels, *result):
            tensor.record_stream(self._stream)
            tensor.record_stream(current)
        return result

    def _capture(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images.clone(), labels.clone()
        before = attributes(self._net)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": a DataLoader's thread may pin memory meanwhile
        graphed = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
        try:
            with torch.cuda.stream(self._stream), graphed:
                self._loss, self._outputs = self._learn(self._images, self._labels)
        except RuntimeError as error:
            self._forget()
            put_back(changes(self._net, before))
            _leave_capture(images.device)
            # ending a broken capture raises an error of its own, after the one that broke it
            self._give_up(f"the step cannot be captured ({_in_words(error.__context__ or error)})")
            return
        changed = changes(self._net, before)
        state = [name for _, name, _, now in changed if getattr(now, "grad_fn", None) is None]
        if state:
            put_back(changed)
            self._give_up(
                f"the net's forward gives {state[0]!r} another value, which a graph does not; "
                "change a tensor in place, or leave that out"
            )
            return
        self._graph = graph
        self._told = told(self._optimizer)

    def _changed(self) -> str | None:
        """The first setting of the optimizer that is not what it was, None if all are."""
        groups = self._optimizer.param_groups
        if [*map(id, groups)] != [id(group) for group, _ in self._told]:
            return "param_groups"
        for group, settings in self._told:
            for name, value in settings:
                if is_replaced(value, _setting(group, name)):
                    return name
        return None

    def _give_up(self, reason: str) -> None:
        self._failed = True
        self._graph = None
        warn_eager(reason)


def _in_words(error: BaseException) -> str:
    """The first line of an error; a name for the error itself would keep its step alive."""
    return str(error).partition("\n")[0] or type(error).__name__


@lru_cache
def _side_stream(device: torch.device, thread: int) -> torch.cuda.Stream:
    """One stream for all runs of a thread: cuBLAS keeps some 70 MB for each it has worked on."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _leave_capture(device: torch.device) -> None:
    """Let the device's generator draw again: before torch 2.15 a broken capture keeps it waiting.

    A copy of its state has the seed and the place, and knows nothing of a capture.
    """
    generator = torch.cuda.default_generators[device.index]
    generator.graphsafe_set_state(generator.clone_state())


def told(optimizer: Optimizer) -> list[tuple[dict[str, Any], list[tuple[str, Any]]]]:
    """Each group of an optimizer with its settings of now."""
    return [
        (group, [(name, _setting(group, name)) for name in group])
        for group in optimizer.param_groups
    ]


def _setting(group: dict[str, Any], name: str) -> Any:
    """A setting of a group; of its parameters, which of them are trained."""
    if name == "params":
        return [parameter.requires_grad for parameter in group[name]]
    return group[name]


def reason_not_to_capture(
    net: nn.Module,
    optimizer: Optimizer,
    *,
    precision: str,
    accumulate: int,
    compiled_before: bool,
) -> str | None:
    """Return why a step is not to be captured, None if it is."""
    if compiled_before:
        return "the net was compiled before, maybe to graphs of its own; leave that to compile=True"
    if precision == "fp16":
        return "the gradient scaler of fp16 decides at each step on the CPU; bf16 needs none"
    if accumulate > 1:
        return f"with accumulate={accumulate} the steps differ"
    if (name := _hooked(net)) is not None:
        return f"{name} has hooks, which a graph would not call"
    for group in optimizer.param_groups:
        on_device = group.get("capturable", group.get("fused"))  # SGD has the second alone
        if not (on_device and isinstance(group["lr"], Tensor) and group["lr"].is_cuda):
            return (
                f"this {type(optimizer).__name__} keeps its learning rate on the CPU; "
                'give "adam", "adamw" or "sgd" by name'
            )
    return None


def _hooked(net: nn.Module) -> str | None:
    """The first module or parameter with a hook that is not torch's own."""
    for name, module in net.named_modules():
        for held in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            for hook in held.values():
                home = getattr(hook, "__module__", None) or type(hook).__module__
                if not home.startswith("torch."):
                    return repr(name) if name else "the net"
    for name, parameter in net.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            return repr(name)
    return None


def warn_eager(reason: str) -> None:
    """Say that the steps run eagerly, and why."""
    warnings.warn(f"fit runs its steps eagerly, which is slower: {reason}", stacklevel=5)
