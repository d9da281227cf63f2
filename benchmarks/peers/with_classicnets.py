"""classicnets: `fit` as a user writes it.

`--data everything` adds the progress bar, drawn as for a terminal, and a checkpoint each epoch.
"""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import task
import torch_task
from torch import nn

import classicnets
from classicnets import LeNet5, fit


class Terminal(io.StringIO):
    """Takes the bar as a terminal would, and shows it to nobody."""

    def isatty(self) -> bool:
        return True


def prepare(net: nn.Module, criterion: nn.Module, loader: Any) -> task.Run:
    return lambda: fit(net, loader, optimizer="sgd", lr=0.01, loss=criterion, epochs=1)


def main() -> None:
    given = task.arguments()
    if given.part == "steps":
        torch_task.steps(given, prepare, task.Batches)
        return
    net = LeNet5()
    images, labels = torch_task.tensors(given)
    more: dict[str, Any] = {}

    def epoch(count: int) -> task.Run:
        splits = classicnets.data.mnist(root=given.root, val_size=len(labels) - count)
        if given.data == "everything":
            sys.stderr = Terminal()
            more["checkpoint_dir"] = Path(tempfile.mkdtemp(dir=folder))
        return lambda: fit(net, splits.train, optimizer="sgd", lr=0.01, epochs=1, **more)

    with tempfile.TemporaryDirectory() as folder:
        task.measure(given, epoch, lambda: torch_task.tell(net, images, labels))


if __name__ == "__main__":
    main()
