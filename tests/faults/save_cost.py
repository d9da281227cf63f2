"""What a save costs beside `torch.save` with fsync: `python -m tests.faults.save_cost`."""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import torch

from classicnets.storage.checkpoints import CheckpointStore


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.save_cost", description=__doc__)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.7, 45.0])
    parser.add_argument("--saves", type=int, default=50)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    print("| MB | saves | ours, ms: median (p99) | torch.save and fsync, ms | ratio of medians |")
    print("|---:|---:|---:|---:|---:|")
    for megabytes in arguments.megabytes:
        tensors = {f"w{k}": torch.randn(int(megabytes * 1e6 / 4 / 20)) for k in range(20)}
        ours, bare = [], []

        with CheckpointStore(folder / f"{megabytes}") as store:
            for step in range(arguments.saves):  # one after the other, to share what else goes on
                start = time.perf_counter()
                with (folder / "bare.pt").open("wb") as file:
                    torch.save(tensors, file)
                    file.flush()
                    os.fsync(file.fileno())
                bare.append(time.perf_counter() - start)
                start = time.perf_counter()
                store.save(step, tensors, {})
                ours.append(time.perf_counter() - start)
        cells = [
            f"{median(times) * 1e3:.1f} ({quantiles(times, n=100)[-1] * 1e3:.1f})"
            for times in (ours, bare)
        ]
        ratio = median(ours) / median(bare)
        print(f"| {megabytes} | {arguments.saves} | {cells[0]} | {cells[1]} | {ratio:.2f} |")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
