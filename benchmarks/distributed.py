"""What sharing a net costs: two processes with gloo beside one process with two threads.

    python benchmarks/distributed.py [--data mnist --root FOLDER] [--batch-size 64] [--rounds 5]

LeNet-5, SGD with momentum, training only, the two ways in turn. The clock is the history's, over
the epochs after the first. A third way, one process with one thread, tells what there is to gain.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from report import RESULTS, save

from classicnets.benchmark import spread
from classicnets.cli.output import columns

# what is measured, processes, threads of each
WAYS = (("two processes", 2, 1), ("two threads", 1, 2), ("one thread", 1, 1))
CHILD = """
import os, sys, torch
from classicnets import LeNet5, data, fit
name, root, batch_size, epochs, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
options = {"batch_size": int(batch_size), "image_size": 32}
splits = getattr(data, name)(root or None, **options)
history = fit(LeNet5(), splits.train, epochs=int(epochs), optimizer="sgd", lr=0.01, seed=0,
              device="cpu", progress=False)
if os.environ.get("RANK", "0") == "0":
    print(*(record.images_per_second for record in history.epochs[1:]))
"""


def run(given: argparse.Namespace, processes: int, threads: int) -> float:
    """Images a second, the median over epochs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [given.data, given.root, given.batch_size, given.epochs, threads]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, *map(str, words)],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(processes)
    ]
    texts = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        sys.exit("a process failed")
    return statistics.median(map(float, texts[0].split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", choices=["digits", "mnist"])
    parser.add_argument("--root", default="")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "distributed.json")
    given = parser.parse_args()
    speeds: dict[str, list[float]] = {name: [] for name, _, _ in WAYS}
    for number in range(given.rounds):
        for name, processes, threads in WAYS[:: 1 if number % 2 else -1]:
            speeds[name].append(run(given, processes, threads))
    ratios = [
        two / one for two, one in zip(speeds["two processes"], speeds["two threads"], strict=True)
    ]
    spreads = {name: asdict(spread(values)) for name, values in speeds.items()}
    rows = [[name, f"{statistics.median(values):,.0f}"] for name, values in speeds.items()]
    print(columns([["way", "images/s"], *rows], right=(1,)))
    print(f"two processes over two threads: {statistics.median(ratios):.2f}")
    result = {
        "what": f"LeNet-5 on {given.data}, batch {given.batch_size}",
        "images per second": spreads,
        "two processes over two threads": asdict(spread(ratios)),
    }
    save(result, given.out)


if __name__ == "__main__":
    main()
