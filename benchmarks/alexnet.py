"""Is our AlexNet as fast as torchvision's, under the same loop?

    python benchmarks/alexnet.py [--rounds 7] [--out FILE]

Steps at batch 32 on 224, SGD with momentum, the same random pictures: both nets under one plain
loop, then both under `fit`, in turn, every other round in the opposite order. Each clocks a few
steps after one unmeasured.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from result_files import made_on
from torch import nn
from torch.nn import functional as F

from classicnets import AlexNet, fit
from classicnets.benchmark import spread

BATCH, STEPS = 32, 3


def by_hand(net: Callable[[], nn.Module], batches: list[Any]) -> float:
    """Images a second of a plain loop."""
    torch.manual_seed(0)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    for number, (images, labels) in enumerate(batches):
        if number == 1:
            begun = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return BATCH * (len(batches) - 1) / (time.perf_counter() - begun)


def fitted(net: Callable[[], nn.Module], batches: list[Any]) -> float:
    """Images a second of `fit`, its second epoch."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noise is learnt by nobody, and fit says so
        history = fit(
            net(), batches[1:], epochs=2, optimizer="sgd", lr=0.001, device="cpu", progress=False
        )
    return history.epochs[-1].images_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    batches = [
        (torch.randn(BATCH, 3, 224, 224), torch.randint(0, 1000, (BATCH,)))
        for _ in range(STEPS + 1)
    ]
    theirs, ours = "torchvision's AlexNet", "classicnets' AlexNet"
    ways: dict[str, Callable[[], float]] = {
        f"{theirs}, plain loop": lambda: by_hand(torchvision.models.alexnet, batches),
        f"{ours}, plain loop": lambda: by_hand(AlexNet, batches),
        f"{theirs}, fit": lambda: fitted(torchvision.models.alexnet, batches),
        f"{ours}, fit": lambda: fitted(AlexNet, batches),
    }
    load_before = os.getloadavg()[0]
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            found[name].append(ways[name]())
    ratios = {
        f"{ours} over torchvision's, {loop}": vars(
            spread(
                [
                    own / other
                    for own, other in zip(
                        found[f"{ours}, {loop}"], found[f"{theirs}, {loop}"], strict=True
                    )
                ]
            )
        )
        for loop in ("plain loop", "fit")
    }
    result = {
        "command": "python benchmarks/alexnet.py",
        "unit": "images a second at batch 32 on 224, SGD with momentum, float32",
        "images per second": {name: vars(spread(values)) for name, values in found.items()},
        "times torchvision's": ratios,
        **made_on(**{"load before": round(load_before, 2)}),
    }
    text = json.dumps(result, indent=2)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
