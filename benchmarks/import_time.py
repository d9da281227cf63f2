"""What importing costs: `import classicnets` over `import torch`, and what loads no torch at all.

    python benchmarks/import_time.py [--rounds 15] [--out FILE]

Fresh processes, the ways in turn. The clock runs inside the process, around the second statement
alone, so that what it costs beyond the first is no difference of two noisy figures. The aim is at
most 50 ms for `import classicnets` after `import torch`.
"""

import argparse
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from report import RESULTS, save

from classicnets.benchmark import spread
from classicnets.cli.output import columns

# what has run before the clock, what it measures
WAYS = (
    ("", "import torch"),
    ("import torch", "import classicnets"),
    ("import torch", "from classicnets import LeNet5"),
    ("import torch", "from classicnets import LeNet5, evaluate, fit"),
    (
        "import torch, torchvision",
        "from classicnets import LeNet5, data, evaluate, fit; data.mnist",
    ),
    ("", "import classicnets"),
    ("", "import classicnets.shapes"),
    ("", "from classicnets.cli import main; main(['--help'])"),
    ("", "from classicnets.cli import main; main(['list'])"),
)
CHILD = """
{before}
import sys, time
begun = time.perf_counter()
{measured}
print(time.perf_counter() - begun, int("torch" in sys.modules))
"""


def run(before: str, measured: str) -> tuple[float, bool]:
    """Seconds that a statement takes in a fresh process; whether torch is loaded after it."""
    code = CHILD.format(before=before, measured=measured)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch_is_loaded = done.stdout.split()[-2:]
    return float(seconds), torch_is_loaded == "1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / "import_time.json")
    given = parser.parse_args()
    loads_torch = [run(*way)[1] for way in WAYS]  # also warms the system's caches
    seconds: list[list[float]] = [[] for _ in WAYS]
    for _ in range(given.rounds):
        for way, taken in zip(WAYS, seconds, strict=True):
            taken.append(1000 * run(*way)[0])
    ways = [
        {"after": before, "statement": measured, "milliseconds": asdict(spread(taken)),
         "loads torch": loads}
        for (before, measured), taken, loads in zip(WAYS, seconds, loads_torch, strict=True)
    ]  # fmt: skip
    rows = [("statement", "after", "median ms", "lowest", "highest", "torch loaded")]
    for way in ways:
        found = way["milliseconds"]
        figures = [f"{found[key]:,.1f}" for key in ("median", "lowest", "highest")]
        rows.append(
            (way["statement"], way["after"], *figures, "yes" if way["loads torch"] else "no")
        )
    print(columns(rows, right=(2, 3, 4)))
    save({"ways": ways}, given.out)


if __name__ == "__main__":
    main()
