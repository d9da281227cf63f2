"""Accelerate, by its quick tour. Its step costs what its own DataLoader costs, so that is used."""

from typing import Any

import torch_task
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader


def prepare(net: nn.Module, criterion: nn.Module, loader: Any) -> Any:
    accelerator = Accelerator()
    net, optimizer, loader = accelerator.prepare(net, torch_task.sgd(net), loader)

    def run() -> None:
        net.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            accelerator.backward(loss)
            optimizer.step()

    return run


if __name__ == "__main__":
    torch_task.main(prepare, wrap=lambda batches: DataLoader(batches, batch_size=None))
