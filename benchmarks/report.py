"""How the scripts here end: a JSON file in `results/`, with the machine and the versions."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from classicnets.benchmark import Measurement, advice, machine, versions

RESULTS = Path(__file__).parent / "results"


def save(result: Mapping[str, Any], path: Path) -> None:
    """Write a result beside what it was measured on, and by which command."""
    about = {
        "command": command(),
        "machine": {**machine(), "load after": round(os.getloadavg()[0], 2)},
        "versions": versions(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, **result}, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten: {path.name}")


def command() -> str:
    """The command that runs, without the paths of this machine."""
    script, *given = sys.argv
    words = [part for word in given for part in (word.split("=", 1) if "--" in word else [word])]
    told = []
    for before, word in zip([script, *words], words, strict=False):
        if "--out" not in (before, word):
            is_path = before == "--root" or (before == "--data" and "/" in word)
            told.append("FOLDER" if is_path else word)
    return shlex.join(["python", f"benchmarks/{Path(script).name}", *told])


def speeds_as_json(speeds: Mapping[str, Sequence[Measurement]]) -> dict[str, Any]:
    """One net's measurements by device, and which device to use from which batch size on."""
    devices = [device for device in speeds if device != "cpu" and "cpu" in speeds]
    return {
        "speeds": {device: list(map(asdict, rows)) for device, rows in speeds.items()},
        "advice": {
            device: {
                what: advice(speeds["cpu"], speeds[device], what)
                for what in ("training", "inference")
            }
            for device in devices
        },
    }
