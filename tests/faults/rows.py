"""What a row of the table is, and how rows are run."""

import json
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# gets a case, random numbers of its own and an empty folder; returns whether the fault fired, or,
# where several make one trial, how many there were and how many fired
Trial = Callable[[Any, random.Random, Path], bool | tuple[int, int]]

ROWS: list["Row"] = []


class NotPossibleHereError(Exception):
    """This machine cannot make the fault happen; the message says why."""


@dataclass
class Row:
    """One kind of fault.

    Attributes:
        name: its number.
        fault: what happens, in a few words.
        trial: does one trial.
        cases: the cases of a tier; `full` or not.
        fires: the share of the trials that must fire.
    """

    name: str
    fault: str
    trial: Trial
    cases: Callable[[bool], Sequence[Any]]
    fires: float = 1.0


@dataclass
class Result:
    """What came of a row."""

    name: str
    fault: str
    trials: int = 0
    fired: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0
    enough: bool = False

    @property
    def passed(self) -> bool:
        return bool(self.skipped) or (self.trials > 0 and self.enough and not self.failures)


def row(
    name: str, fault: str, cases: Callable[[bool], Sequence[Any]], *, fires: float = 1.0
) -> Callable[[Trial], Trial]:
    """Make a function of one trial a row."""

    def register(trial: Trial) -> Trial:
        ROWS.append(Row(name, fault, trial, cases, fires))
        return trial

    return register


def counted(quick: int, full: int) -> Callable[[bool], Sequence[int]]:
    """Return cases that are only numbers."""
    return lambda is_full: range(full if is_full else quick)


def each(cases: Sequence[Any]) -> Callable[[bool], Sequence[Any]]:
    """Return the same cases in either tier."""
    return lambda _: cases


def run_row(row: Row, *, full: bool, seed: int, only_trial: int | None = None) -> Result:
    """Run the trials of a row; a failed one is noted and the rest go on."""
    result = Result(row.name, row.fault)
    start = time.perf_counter()
    for number, case in enumerate(row.cases(full)):
        if only_trial not in (None, number):
            continue
        place = Path(tempfile.mkdtemp(prefix="fault-"))
        trials, fired = 1, 0
        try:
            came = row.trial(case, random.Random(f"{row.name} {seed} {number}"), place)
            trials, fired = came if isinstance(came, tuple) else (1, int(came))
        except NotPossibleHereError as reason:
            result.skipped = str(reason)
            break
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            result.failures.append(
                f"trial {number} ({case!s:.60}): {type(error).__name__}: {error!s:.400} "
                f"[{Path(where.filename).name}:{where.lineno}; "
                f"--only {row.name} --seed {seed} --trial {number}]"
            )
        finally:
            result.trials += trials
            result.fired += fired
            shutil.rmtree(place, ignore_errors=True)
    result.seconds = time.perf_counter() - start
    result.enough = result.fired >= row.fires * result.trials
    return result


def table(results: Sequence[Result]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| row | fault | trials | fired | failures | seconds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for result in results:
        outcome = f"{len(result.failures)}"
        if result.skipped:
            outcome = f"not run: {result.skipped}"
        elif not result.enough:
            outcome += " (too few fired)"
        lines.append(
            f"| {result.name} | {result.fault} | {result.trials:,} | {result.fired:,} | {outcome} "
            f"| {result.seconds:.1f} |"
        )
    return "\n".join(lines)


def to_json(results: Sequence[Result], seed: int) -> str:
    rows = [{**vars(result), "passed": result.passed} for result in results]
    return json.dumps({"seed": seed, "rows": rows}, indent=1)
