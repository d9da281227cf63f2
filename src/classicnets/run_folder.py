"""The folder of a run: one run claims it, and each of its files is there whole or not at all."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, DataError, StorageError
from .storage.safe_files import discard, storage_error, temporary_path
from .training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "claim_folder",
    "give_up",
    "read_history",
    "save_figure",
    "write_history",
    "write_metrics",
]


def claim_folder(out: str | Path | None, stem: str, metrics: dict[str, Any]) -> Path:
    """Make the run's folder and put its settings there; of two runs that try, one gets it."""
    folder = Path(out) if out is not None else _next_folder(Path("runs"), stem)
    path = folder / "metrics.json"
    if (folder / "checkpoints").exists() and not path.exists():
        raise StorageError(
            f"out is {str(folder)!r}, which holds a folder 'checkpoints' already; choose another"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_as_json(metrics))
    except FileExistsError as error:
        if not path.exists():
            raise storage_error(folder, 0, error) from error
        raise StorageError(
            f"out is {str(folder)!r}, which holds a run already; choose another folder"
        ) from error
    except OSError as error:
        raise storage_error(folder, 0, error) from error
    return folder


def give_up(folder: Path) -> None:
    """Take back the folder of a run that saved nothing to go on from."""
    checkpoints = folder / "checkpoints"
    if any(checkpoints.glob("step_*")):
        return
    discard(checkpoints)
    discard(folder / "metrics.json")
    with suppress(OSError):
        folder.rmdir()


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write `metrics.json`.

    Raises:
        StorageError: the file cannot be written.
    """
    _put(folder / "metrics.json", lambda path: path.write_text(_as_json(metrics), "utf-8"))


def write_history(folder: Path, history: History) -> None:
    """Write `history.csv`, a row per epoch, and `steps.csv`, a row per step.

    Raises:
        StorageError: a file cannot be written.
    """
    _put(folder / "history.csv", history.to_csv)
    _put(folder / "steps.csv", lambda path: _write_steps(path, history.step_losses))


def read_history(folder: Path, result: Mapping[str, Any]) -> History:
    """Read what `write_history` wrote; the rest of a history is in the result of `metrics.json`.

    Raises:
        DataError: a file is missing or damaged.
    """
    try:
        history = History.from_csv(folder / "history.csv")
        with (folder / "steps.csv").open(newline="", encoding="utf-8") as file:
            history.step_losses = [float(row["loss"]) for row in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the history of {str(folder)!r} cannot be read: {error}") from error
    history.best_epoch = result["best_epoch"]
    history.stopped = result["stopped"]
    return history


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure whole or not at all, in the format of the path's ending.

    Raises:
        ConfigError: matplotlib has no such format.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    form = path.suffix.removeprefix(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if form not in known:
        fault = "is a folder" if path.is_dir() else f"ends in {path.suffix!r}"
        raise ConfigError(f"{path} {fault}; allowed are {', '.join(sorted(known))}")
    _put(path, partial(figure.savefig, format=form))


def _next_folder(parent: Path, stem: str) -> Path:
    """Make `parent/stem-n` for the first n above those in use."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        used = [path.name.removeprefix(f"{stem}-") for path in parent.glob(f"{stem}-*")]
        number = max((int(text) for text in used if text.isdecimal()), default=0)
        while True:
            number += 1
            with suppress(FileExistsError):
                folder = parent / f"{stem}-{number}"
                folder.mkdir()
                return folder
    except OSError as error:
        raise storage_error(parent, 0, error) from error


def _put(path: Path, write: Callable[[Path], object]) -> None:
    """Have a file written beside its place, then put it there."""
    aside = temporary_path(path.parent)
    try:
        write(aside)
        aside.replace(path)
    except OSError as error:
        raise storage_error(path, 0, error) from error
    finally:
        discard(aside)


def _as_json(metrics: Mapping[str, Any]) -> str:
    return json.dumps(metrics, indent=2) + "\n"


def _write_steps(path: Path, losses: Sequence[float]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows(enumerate(losses, start=1))
