"""A step captured once as a CUDA graph and replayed: small nets spend their time in launches."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

Learn = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class CapturedStep:
    """Learns from batches of one shape by replaying a graph; from any other batch eagerly.

    The first steps are eager ones that count, on a stream of their own, so that libraries are set
    up and the optimizer has its state: nothing is undone afterwards. Capturing computes nothing.

    Args:
        learn: the whole eager step: forward, loss, backward, update, gradients cleared; returns
            the loss and the outputs, both detached.
        device: the GPU.
    """

    EAGER_STEPS = 3

    def __init__(self, learn: Learn, device: torch.device) -> None:
        self._learn = learn
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._eager_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._failed = False

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from a batch; return its loss and the outputs."""
        if self._graph is None and not self._failed:
            if self._eager_steps < self.EAGER_STEPS:
                return self._learn_aside(images, labels)
            self._capture(images, labels)
        if self._graph is None or not self._fits(images, labels):
            return self._learn(images, labels)
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss.clone(), self._outputs.clone()

    def _learn_aside(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self._eager_steps += 1
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
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._loss, self._outputs = self._learn(self._images, self._labels)
        except RuntimeError as error:
            self._failed = True
            warn_eager(f"the step cannot be captured ({str(error).splitlines()[0]})")
            return
        self._graph = graph

    def _fits(self, images: Tensor, labels: Tensor) -> bool:
        return all(
            new.shape == held.shape and new.dtype == held.dtype
            for new, held in ((images, self._images), (labels, self._labels))
        )


def reason_not_to_capture(
    optimizer: Optimizer,
    *,
    precision: str,
    accumulate: int,
    compiled: bool,
    num_batches: int | None,
) -> str | None:
    """Return why a step is not to be captured, None if it is."""
    if compiled:
        return "compile=True makes kernels of its own"
    if precision == "fp16":
        return "the gradient scaler of fp16 decides at each step on the CPU; bf16 needs none"
    if accumulate > 1:
        return f"with accumulate={accumulate} the steps differ"
    if num_batches is not None and num_batches <= CapturedStep.EAGER_STEPS:
        return f"an epoch has only {num_batches} batches"
    for group in optimizer.param_groups:
        on_device = group.get("fused") or group.get("capturable")
        if not (on_device and isinstance(group["lr"], Tensor) and group["lr"].is_cuda):
            return (
                f"this {type(optimizer).__name__} keeps its learning rate on the CPU; "
                'give "adam", "adamw" or "sgd" by name'
            )
    return None


def warn_eager(reason: str) -> None:
    """Say that the steps run eagerly, and why."""
    warnings.warn(f"fit runs its steps eagerly, which is slower: {reason}", stacklevel=4)
