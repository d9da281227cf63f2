"""What a training run leaves behind: a record per epoch, a loss per step."""

import csv
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import DataError


@dataclass(frozen=True)
class EpochRecord:
    """One epoch. Losses and accuracies are means over images, accuracies 0..1.

    Attributes:
        epoch: number of the epoch, from 1.
        train_loss: mean over the epoch, measured while the weights moved.
        train_accuracy: the same; None where labels are not classes.
        val_loss: at the end of the epoch; None without a validation loader.
        val_accuracy: the same.
        lr: learning rate of the epoch's last update.
        seconds: of training, validation not counted.
        images_per_second: images trained on, by those seconds.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float
    images_per_second: float


@dataclass
class History:
    """A training run, as `fit` returns it.

    Attributes:
        epochs: a record per finished epoch.
        step_losses: the loss of each batch, in order.
        best_epoch: number of the epoch with the best validation, whose weights the model has;
            None without a validation loader.
        interrupted: whether a signal ended the run before its time.
        stopped: why the run ended early, in words; None when it ran to its end.
    """

    epochs: list[EpochRecord] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    interrupted: bool = False
    stopped: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists, dicts, numbers and strings."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "History":
        """Rebuild a history from `to_dict`."""
        rest = {name: value for name, value in state.items() if name != "epochs"}
        return cls(epochs=[EpochRecord(**record) for record in state["epochs"]], **rest)

    def to_csv(self, path: str | Path) -> None:
        """Write a row per epoch, the columns named as in `EpochRecord`; None is an empty cell."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [column.name for column in fields(EpochRecord)])
            writer.writeheader()
            writer.writerows(asdict(record) for record in self.epochs)

    @classmethod
    def from_csv(cls, path: str | Path) -> "History":
        """Read the epochs that `to_csv` wrote; the losses of single steps are not in the file.

        Raises:
            DataError: the columns are not those of `to_csv`, or a cell is no number.
        """
        columns = [column.name for column in fields(EpochRecord)]
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != columns:
                raise DataError(f"{path} has the columns {reader.fieldnames}, expected {columns}")
            try:
                return cls(epochs=[_record(row) for row in reader])
            except (TypeError, ValueError) as error:
                raise DataError(f"{path} is not a history: {error}") from error


def _record(row: dict[str, str]) -> EpochRecord:
    numbers = {name: float(cell) if cell else None for name, cell in row.items()}
    return EpochRecord(**{**numbers, "epoch": int(row["epoch"])})  # type: ignore[arg-type]
