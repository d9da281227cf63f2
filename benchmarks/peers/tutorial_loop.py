"""The loop of PyTorch's own tutorials ("Training a classifier")."""

from typing import Any

import torch_task
from torch import nn


def prepare(net: nn.Module, criterion: nn.Module, loader: Any) -> Any:
    optimizer = torch_task.sgd(net)

    def run() -> None:
        running_loss = 0.0
        for i, data in enumerate(loader, 0):
            inputs, labels = data
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if i % 200 == 199:
                print(f"[1, {i + 1:5d}] loss: {running_loss / 200:.3f}")
                running_loss = 0.0

    return run


if __name__ == "__main__":
    torch_task.main(prepare)
