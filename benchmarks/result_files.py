"""What the files of results have in common: who made them, on what, and that each is whole."""

import json
import platform
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classicnets import benchmark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("torch", "torchvision", "numpy", "pillow")


def made_on(**more: Any) -> dict[str, Any]:
    """The machine and the versions, as every result file has them."""
    here = benchmark.machine()
    return {
        "machine": {
            **{name: here[name] for name in ("processor", "cores", "threads")},
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


def processors(results: list[dict[str, Any]]) -> str:
    """The processors that made results."""
    return ", ".join(sorted({one["machine"]["processor"] for one in results}))


def write_picture(path: Path, figure: "Figure") -> None:
    """Write an SVG file that is the same whenever the figure is."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})


def spread(values: list[float], digits: int = 1) -> dict[str, Any]:
    return {
        "n": len(values),
        "mean": round(statistics.mean(values), digits),
        "deviation": round(statistics.stdev(values), digits) if len(values) > 1 else None,
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
    }
