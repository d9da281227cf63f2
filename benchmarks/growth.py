"""How time and memory grow with batch, image size, number of images and epochs: straight lines?

    python benchmarks/growth.py [--tiny] [--out FILE]

Each point is the median of several runs of `fit` in one process; a line is fitted to the points by
least squares, and R2 says what part of their variation it explains. The plots go beside the JSON
file. Memory is the peak of a whole process that trains once, a fresh one for each point.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import RESULTS, save
from torch import nn

from classicnets import AlexNet, LeNet5, data, fit
from classicnets.benchmark import resident_bytes, spread
from classicnets.cli.output import columns
from classicnets.preparation import Preparation

# what grows -> the values it takes, and those of a dry run
GROWTH: dict[str, tuple[list[int], list[int]]] = {
    "batch": ([64, 128, 256, 512, 1024, 2048], [4, 8, 16]),
    "image side, squared": ([64, 96, 128, 160, 192, 224], [64, 96]),
    "images": ([2_000, 4_000, 8_000, 16_000, 32_000], [64, 128, 256]),
    "epochs": ([1, 2, 4, 8, 16], [1, 2, 3]),
}
TIMES = {
    "batch": "seconds a step",
    "image side, squared": "seconds an epoch of 32 images",
    "images": "seconds an epoch",
    "epochs": "seconds in all",
}


def task(what: str, value: int, tiny: bool) -> tuple[Callable[[], nn.Module], Any, int]:
    """The net, the loader and the epochs of one point."""
    if what == "batch":
        return LeNet5, noise(value * 4, value, 32, 1), 1
    if what == "image side, squared":
        return lambda: AlexNet(2, hidden=(64, 64)), noise(4 if tiny else 32, 8, value, 3), 1
    if what == "images":
        return LeNet5, noise(value, 64, 32, 1), 1
    return LeNet5, noise(64 if tiny else 4_000, 64, 32, 1), value


def noise(count: int, batch_size: int, side: int, channels: int) -> data.TensorLoader:
    return data.TensorLoader(
        torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8),
        torch.arange(count) % 2,
        classes=("even", "odd"),
        preparation=Preparation(side, channels),
        batch_size=batch_size,
        shuffle=True,
    )


def seconds(what: str, value: int, tiny: bool, repeats: int) -> list[float]:
    net, loader, epochs = task(what, value, tiny)
    taken = []
    for _ in range(repeats + 1):
        model = net()
        begun = time.perf_counter()
        history = fit(model, loader, epochs=epochs, device="cpu", progress=False)
        whole = time.perf_counter() - begun
        inside = sum(each.seconds for each in history.epochs)
        taken.append({"batch": inside / len(loader), "epochs": whole}.get(what, inside))
    return taken[1:]


def line(values: list[int], points: list[float]) -> dict[str, float]:
    """Slope, intercept and R2 of the line of least squares."""
    slope, intercept = np.polyfit(values, points, 1)
    left = np.subtract(points, slope * np.array(values) + intercept)
    spread_of_points = float(np.var(points))
    r2 = 1 - float(np.var(left)) / spread_of_points if spread_of_points else 1.0
    return {"slope": float(slope), "intercept": float(intercept), "r2": r2}


def peak_in_own_process(what: str, value: int, tiny: bool) -> float:
    words = [sys.executable, __file__, "--child", what, str(value), *(["--tiny"] if tiny else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def draw(found: dict[str, Any], path: Path) -> None:
    """Points, their spread and their line: time above, memory below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(found), figsize=(3.4 * len(found), 6), layout="constrained")
    for (what, rows), column in zip(found.items(), axes.T, strict=True):
        values = np.array([int(value.replace(",", "")) for value in rows["time"]])
        points = rows["time"].values()
        low, middle, high = (
            np.array([each[key] for each in points]) for key in ("lowest", "median", "highest")
        )
        memory = np.array(list(rows["memory, MB"].values()))
        pairs = (
            (middle, rows["line of time"], TIMES[what]),
            (memory, rows["line of memory"], "peak memory, MB"),
        )
        for axis, (heights, fitted, unit) in zip(column, pairs, strict=True):
            axis.plot(values, fitted["slope"] * values + fitted["intercept"], color="0.6", zorder=1)
            axis.scatter(values, heights, s=18, zorder=2)
            axis.set(xlabel=what, ylabel=unit, title=f"R² = {fitted['r2']:.4f}")
            axis.set_ylim(0, 1.15 * max(heights))
            axis.title.set_fontsize(9)
        column[0].vlines(values, low, high)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a dry run that measures nothing")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "the loss stayed within")  # noise cannot be learnt
    if given.child:
        what, value = given.child[0], int(given.child[1])
        net, loader, epochs = task(what, value, given.tiny)
        fit(net(), loader, epochs=epochs, device="cpu", progress=False)
        print(json.dumps((resident_bytes("VmHWM") or 0) / 1e6))
        return
    found: dict[str, Any] = {}
    rows = [("grows", "slope of time", "R2", "slope of memory, MB", "R2")]
    for what, choices in GROWTH.items():
        values = choices[given.tiny]
        squared = [value**2 for value in values] if "squared" in what else values
        times = [spread(seconds(what, value, given.tiny, given.repeats)) for value in values]
        memory = [peak_in_own_process(what, value, given.tiny) for value in values]
        found[what] = {
            "unit of time": TIMES[what],
            "time": {f"{v:,}": asdict(each) for v, each in zip(squared, times, strict=True)},
            "line of time": line(squared, [each.median for each in times]),
            "memory, MB": {f"{v:,}": peak for v, peak in zip(squared, memory, strict=True)},
            "line of memory": line(squared, memory),
        }
        lines = (found[what]["line of time"], found[what]["line of memory"])
        figures = [f"{each[key]:.4g}" for each in lines for key in ("slope", "r2")]
        rows.append((what, *figures))
    print(columns(rows, right=(1, 2, 3, 4)))
    save({"growth": found}, given.out)
    draw(found, given.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
