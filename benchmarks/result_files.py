"""What the files of results have in common: who made them, on what, and that each is whole."""

import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "numpy", "pillow")


def made_on(**more: Any) -> dict[str, Any]:
    """The machine and the versions, as every result file has them."""
    return {
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            **more,
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result file, with machine and versions, that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**result, **made_on()}, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read_results(folder: Path, name: str) -> list[dict[str, Any]]:
    """The results of one experiment, by seed."""
    results = [json.loads(path.read_text("utf-8")) for path in folder.glob(f"{name}-*.json")]
    return sorted((one for one in results if one["name"] == name), key=lambda one: one["seed"])


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
