"""Run the rows and print the table: `python -m tests.faults --help`."""

import argparse
import platform
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from . import (  # noqa: F401
    controls,
    damage,
    draw_requests,
    hostile,
    kills,
    long_runs,
    numerics,
    resume_matrix,
    signals,
    state_machine,
    storage,
    training_kills,
    worker_faults,
)
from .rows import ROWS, run_row, table, to_json


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few trials of every row")
    parser.add_argument("--only", metavar="ROW", action="append", help="these rows alone")
    parser.add_argument("--seed", type=int, default=None, help="of all random choices")
    parser.add_argument("--trial", type=int, default=None, help="one trial of each row alone")
    parser.add_argument("--folder", default=None, help="where to work; the default is in memory")
    parser.add_argument("--json", type=Path, default=None, help="write the results there too")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is deaf
    memory = "/dev/shm"  # noqa: S108
    tempfile.tempdir = arguments.folder or (memory if Path(memory).is_dir() else None)
    results = []
    print(f"seed {seed}; Python {platform.python_version()}, torch {torch.__version__}", flush=True)
    for row in ROWS:
        if arguments.only and row.name not in arguments.only:
            continue
        result = run_row(
            row,
            full=not arguments.quick,
            seed=seed,
            only_trial=arguments.trial,
        )
        results.append(result)
        print(f"{result.name}: {'passed' if result.passed else 'FAILED'}", flush=True)
        for failure in result.failures[:10]:
            print(f"    {failure}", flush=True)
        if arguments.json:
            arguments.json.write_text(to_json(results, seed))
    print(f"\n{table(results)}\n\n{time.strftime('%Y-%m-%d')}, seed {seed}")
    return 0 if results and all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
