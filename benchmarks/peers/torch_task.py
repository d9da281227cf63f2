"""What the peers on torch share: the net, the loaders, the bare loop."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import task
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

Prepare = Callable[[nn.Module, nn.Module, Any], task.Run]


def lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=task.LEARNING_RATE, momentum=task.MOMENTUM)


def tensors(given: Namespace, part: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = task.pictures(given.root, part)
    return torch.from_numpy(images), torch.from_numpy(labels)


def mnist(given: Namespace, count: int) -> Dataset:
    """MNIST as the tutorials read it: file, picture, transforms, one by one."""
    from torchvision import datasets, transforms

    steps = [
        transforms.Pad(2),
        transforms.ToTensor(),
        transforms.Normalize((task.MEAN,), (task.DEVIATION,)),
    ]
    dataset = datasets.MNIST(given.root, train=True, transform=transforms.Compose(steps))
    dataset.data, dataset.targets = dataset.data[:count], dataset.targets[:count]
    return dataset


def tell(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """Loss after the epoch, for a look at whether the net has learnt."""
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net(images[: task.JUDGED]), labels[: task.JUDGED])
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return {"loss": loss.item(), "parameters": parameters, "threads": torch.get_num_threads()}


def bare(net: nn.Module, criterion: nn.Module, loader: Any) -> task.Run:
    """The least that trains."""
    optimizer = sgd(net)

    def run() -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(net(images), labels).backward()
            optimizer.step()

    return run


def steps(given: Namespace, prepare: Prepare, wrap: Callable[[list[Any]], Any]) -> None:
    """The cost of a step on nn.Linear(1, 1)."""
    batch = torch.randn(task.BATCH, 1), torch.randn(task.BATCH, 1)
    ways = [
        lambda count, way=way: way(nn.Linear(1, 1), nn.MSELoss(), wrap([batch] * count))
        for way in (prepare, bare)
    ]
    task.measure_steps(given, *ways)


def main(
    prepare: Prepare,
    *,
    given: Namespace | None = None,
    wrap: Callable[[list[Any]], Any] = task.Batches,
) -> None:
    """Measure `prepare(net, criterion, loader)`, which gives what trains for one epoch."""
    given = given or task.arguments()
    if given.part == "steps":
        steps(given, prepare, wrap)
        return
    net = lenet5()
    images, labels = tensors(given)

    def epoch(count: int) -> task.Run:
        dataset = TensorDataset(images[:count], labels[:count])
        if given.data != "memory":
            dataset = mnist(given, count)
        workers = 2 if given.data == "workers" else 0
        loader = DataLoader(dataset, batch_size=task.BATCH, shuffle=True, num_workers=workers)
        return prepare(net, nn.CrossEntropyLoss(), loader)

    task.measure(given, epoch, lambda: tell(net, images, labels))
