"""Loss and accuracy of the 10,000 test pictures, in one way a process: `--data WAY`.

evaluate         `classicnets.evaluate(model, data.mnist().test)`, as a user writes it
validation       the same as part of `fit`: a `fit` of one small batch with validation
no_validation    that `fit` without, to be taken away
eager            plain PyTorch tuned by hand
channels_last    that, with memory laid out by pixels
compiled         that, through torch.compile; wants a C++ compiler
onnxruntime      the net exported by torch.onnx; accuracy alone

What is tuned by hand has its pictures prepared before the clock starts, keeps freed memory, and
takes the fastest of several batch sizes. All have the same weights, untrained, so all must be right
equally often.
"""

import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hand_tuned
import task
import torch
import torch_task
from torch import nn
from torch.nn import functional as F

Score = Callable[[int], float]  # batch size -> accuracy


def classicnets_way(given: Namespace) -> Score:
    import classicnets

    torch.manual_seed(0)
    net = classicnets.LeNet5()
    test = classicnets.data.mnist(root=given.root).test
    if given.data == "evaluate":
        return lambda size: classicnets.evaluate(net, test).accuracy
    batch = torch.zeros(2, 1, 32, 32), torch.tensor([0, 1])
    val = test if given.data == "validation" else None

    def score(size: int) -> float:
        history = classicnets.fit(net, [batch], val_loader=val, optimizer="sgd", lr=1e-12, epochs=1)
        return history.epochs[0].val_accuracy or 0.0

    return score


def eager_way(given: Namespace) -> Score:
    images, labels = torch_task.tensors(given, "t10k")
    net = seeded_net().eval()
    if given.data != "eager":
        net = net.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    if given.data == "compiled":
        net = torch.compile(net, dynamic=False)

    @torch.inference_mode()
    def score(size: int) -> float:
        loss, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            outputs = net(x)
            loss += F.cross_entropy(outputs, y, reduction="sum")
            right += (outputs.argmax(1) == y).sum()
        return right.item() / len(labels)

    return score


def onnxruntime_way(given: Namespace) -> Score:
    import onnxruntime

    images, labels = task.pictures(given.root, "t10k")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "lenet5.onnx")
        batch = torch.export.Dim("batch")
        torch.onnx.export(
            seeded_net().eval(),
            (torch.zeros(2, 1, 32, 32),),
            path,
            input_names=["images"],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

    def score(size: int) -> float:
        right = 0
        for first in range(0, len(labels), size):
            (outputs,) = session.run(None, {"images": images[first : first + size]})
            right += (outputs.argmax(1) == labels[first : first + size]).sum()
        return float(right) / len(labels)

    return score


def seeded_net() -> nn.Module:
    torch.manual_seed(0)
    return torch_task.lenet5()


def fastest(score: Score, sizes: tuple[int, ...]) -> int:
    """The batch size that was fastest in three tries each, after one unmeasured."""
    best = dict.fromkeys(sizes, float("inf"))
    for attempt in range(4):
        for size in sizes:
            begun = time.perf_counter()
            score(size)
            if attempt:
                best[size] = min(best[size], time.perf_counter() - begun)
    return min(best, key=best.__getitem__)


def main() -> None:
    given = task.arguments()
    given.images = 10_000
    ours = given.data in ("evaluate", "validation", "no_validation")
    if given.data == "compiled" and shutil.which("c++") is None:
        raise SystemExit("torch.compile wants a C++ compiler")
    if not ours:
        hand_tuned.keep_freed_memory()
    way = classicnets_way if ours else eager_way
    score = (onnxruntime_way if given.data == "onnxruntime" else way)(given)
    sizes = {"eager": (64, 256, 1000), "channels_last": (64, 256, 1000)}.get(
        given.data, (256, 1000)
    )
    told: dict[str, Any] = {"threads": torch.get_num_threads()}

    def prepare(count: int) -> task.Run:
        if "batch_size" not in told:  # the warm-up
            told["batch_size"] = 256 if ours else fastest(score, sizes)
        return lambda: told.update(accuracy=score(told["batch_size"]))

    task.measure(given, prepare, lambda: told)


if __name__ == "__main__":
    main()
