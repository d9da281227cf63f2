"""Images a second in training and inference, every net, batch sizes 1 to 4,096, CPU and GPU.

    python benchmarks/throughput.py [NAME ...] [--device cpu] [--sizes 1 16 256] [--out FILE]

Each net and device has a process of its own, so that peak memory is its own, and a process that
the system kills for memory takes nothing with it. `classicnets.benchmark` says how it is measured.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from report import RESULTS, save, speeds_as_json

from classicnets import list_models
from classicnets.benchmark import BATCH_SIZES, Measurement, Spread, measure, net_and_loss
from classicnets.cli.benchmark import speed_table
from classicnets.training.devices import resolve_device


def from_json(row: dict[str, Any]) -> Measurement:
    kept = {
        key: Spread(**value) if isinstance(value, dict) else value for key, value in row.items()
    }
    return Measurement(**kept)


def in_own_process(name: str, device: str, given: argparse.Namespace) -> Iterator[Measurement]:
    """What a process that measures one net on one device tells, until it ends or is killed."""
    words = [sys.executable, __file__, name, "--device", device, "--child"]
    for option in ("repeats", "seconds", "patience"):
        words += [f"--{option}", str(getattr(given, option))]
    words += ["--sizes", *map(str, given.sizes)]
    left = sorted(set(given.sizes))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout or ():
            yield from_json(json.loads(line))
            left.pop(0)
    for size in left:
        reason = f"the process of {left[0]} ended with status {child.returncode}"
        yield Measurement(batch_size=size, skipped=reason)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list_models())
    parser.add_argument("--device", action="append")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(BATCH_SIZES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each repeat")
    parser.add_argument("--patience", type=float, default=20.0, help="for one step, in seconds")
    parser.add_argument("--out", type=Path, default=RESULTS / "throughput.json")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = {"repeats": given.repeats, "seconds": given.seconds, "patience": given.patience}
    if given.child:
        model, loss = net_and_loss(given.names[0])
        place = given.device[0]
        for each in measure(model, device=place, batch_sizes=given.sizes, loss=loss, **options):
            print(json.dumps(asdict(each)), flush=True)
        return
    devices = given.device or list(dict.fromkeys(["cpu", resolve_device("auto").type]))
    nets = {}
    for name in given.names:
        found = {device: list(in_own_process(name, device, given)) for device in devices}
        nets[name] = speeds_as_json(found)
        print(f"\n{name}, images per second\n{speed_table(found)}", flush=True)
        for device, words in nets[name]["advice"].items():
            print(*(f"{what} on {device}: {text}" for what, text in words.items()), sep="\n")
    save({**options, "nets": nets}, given.out)


if __name__ == "__main__":
    main()
