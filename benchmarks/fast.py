"""The `fast` recipe beside the loop of a tutorial that trains as far: seconds of training.

    python benchmarks/fast.py --data FOLDER [--seeds 3] [--out FILE]

Both train LeNet-5 on the same 50,000 of MNIST's training pictures; the other 10,000 say how far.
The loop has the form of PyTorch's tutorial "Training a classifier" (DataLoader, transforms picture
by picture, SGD with momentum), with batches of 64 and a rate of 0.01, which are kinder to it. It
may go on, looking after each epoch, until it is right as often as the recipe was from the same
seed, or for 20 epochs. In turn, training alone is timed; the recipe has the thread that it asks
for, the loop torch's number.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from result_files import spread, write_result
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from classicnets import LeNet5, data, evaluate, fit
from classicnets.data.streams import permutation
from classicnets.recipes import find_recipe, fit_arguments
from classicnets.run_data import load_data

OUT = Path(__file__).parent / "results" / "fast.json"
RECIPE = find_recipe("lenet5", "mnist", "fast")
MOST_EPOCHS = 20


def load(root: Path) -> data.Splits:
    options = {**RECIPE.preparation, "batch_size": RECIPE.batch_size, "val_size": 10_000}
    return load_data("mnist", {**options, "augment": RECIPE.augment, "seed": 0}, root)


def by_recipe(splits: data.Splits, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = LeNet5()
    settings = fit_arguments(RECIPE.fit_settings())
    threads = torch.get_num_threads()
    torch.set_num_threads(RECIPE.threads)
    begun = time.perf_counter()
    fit(net, splits.train, seed=seed, device="cpu", progress=False, **settings)
    seconds = time.perf_counter() - begun
    torch.set_num_threads(threads)
    return {"seconds": seconds, "epochs": RECIPE.epochs, "accuracy": accuracy_of(net, splits)}


def accuracy_of(net: nn.Module, splits: data.Splits) -> float:
    """On the pictures that validate."""
    if splits.val is None:
        raise SystemExit("no pictures validate")
    return evaluate(net, splits.val).accuracy or 0.0


def by_tutorial(pictures: Any, splits: data.Splits, seed: int, goal: float) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = LeNet5()
    loader = DataLoader(pictures, batch_size=64, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    seconds, accuracies = 0.0, [0.0]
    while max(accuracies) < goal and len(accuracies) <= MOST_EPOCHS:
        net.train()
        begun = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(net(images), labels).backward()
            optimizer.step()
        seconds += time.perf_counter() - begun
        accuracies.append(accuracy_of(net, splits))
    return {
        "seconds": seconds,
        "epochs": len(accuracies) - 1,
        "accuracy": max(accuracies),
        "reached": max(accuracies) >= goal,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that has MNIST/raw")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    splits = load(given.data)
    steps = [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    mnist = datasets.MNIST(str(given.data), train=True, transform=transforms.Compose(steps))
    pictures = Subset(mnist, permutation(60_000, 0, 0, "split")[10_000:].tolist())  # as in `load`
    runs: dict[str, list[dict[str, Any]]] = {"fast recipe": [], "tutorial's loop": []}
    for seed in range(given.seeds):
        ours = by_recipe(splits, seed)
        theirs = by_tutorial(pictures, splits, seed, ours["accuracy"])
        runs["fast recipe"].append(ours)
        runs["tutorial's loop"].append(theirs)
        print(seed, ours, theirs, flush=True)
    write_result(given.out, result_of(runs))


def result_of(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    ratios = [
        theirs["seconds"] / ours["seconds"] for ours, theirs in zip(*runs.values(), strict=True)
    ]
    return {
        "command": "python benchmarks/fast.py --data FOLDER",
        "what": "LeNet-5 trained on 50,000 pictures until it is right on as many of 10,000",
        "ways": {
            name: {
                "seconds of training": spread([one["seconds"] for one in found], 1),
                "epochs": spread([one["epochs"] for one in found], 1),
                "accuracy": spread([one["accuracy"] for one in found], 4),
                "runs that reached it": sum(one.get("reached", True) for one in found),
            }
            for name, found in runs.items()
        },
        "times the recipe": spread(ratios, 2),
    }


if __name__ == "__main__":
    main()
