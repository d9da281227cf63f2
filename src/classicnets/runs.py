"""A run: one net trained by its recipe, kept in a folder with everything needed to repeat it.

The folder holds `metrics.json` (settings and result), `history.csv` (a row per epoch), `steps.csv`
(the loss of each step), `model.safetensors`, and the pictures `curves.png`, `confusion.png` and
`predictions.png`. Each file is written aside and renamed, so that none is ever half there. A run
that was stopped has `metrics.json` without a result, and its state under `checkpoints`.
"""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import __version__, plots, run_plots
from .errors import ConfigError, DataError
from .model_cards import ModelCard, model_card
from .models import list_models, model_class
from .pretrained import create_model, load, read_metrics
from .recipes import evaluation_loss, find_recipe, fit_arguments
from .run_data import file_digests, load_again, load_data, place_of
from .run_folder import (
    claim_folder,
    give_up,
    read_history,
    save_figure,
    write_history,
    write_metrics,
)
from .training import Evaluation, History, evaluate, fit, save_weights
from .training.ranks import find_ranks, on_every_rank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .data import Splits
    from .training.losses import Loss

__all__ = ["PICTURES", "Run", "open_run", "resume", "train"]

PICTURES = ("curves", "confusion", "predictions")
_PACKAGES = ("torch", "torchvision", "numpy", "safetensors", "scikit-learn")

Loader = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Run:
    """A trained net and where it came from.

    Attributes:
        path: the folder.
        model: the net, its `preparation` with it.
        history: what happened in training.
        metrics: the content of `metrics.json`; its result is None if a signal stopped the run.
    """

    path: Path
    model: nn.Module
    history: History
    metrics: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the net's outputs."""
        return tuple(self.metrics["classes"])

    @property
    def loss(self) -> "str | Loss":
        """The loss that the net was trained by, labels unsmoothed, as `evaluate` takes it."""
        return evaluation_loss(self.metrics["fit"]["loss"])

    def data(self, *, root: str | Path | None = None, download: bool = True) -> "Splits":
        """Load the data of the run again, split and prepared as they were.

        Args:
            root: where they lie; None for where they lay.
            download: whether to fetch what is missing.
        """
        return load_again(self.metrics, root, download=download)

    def draw(
        self,
        kind: str,
        *,
        image: Any = None,
        root: str | Path | None = None,
        download: bool = True,
    ) -> "Figure":
        """Draw one of `run_plots.KINDS`; see `run_plots.draw`."""
        return run_plots.draw(self, kind, image=image, root=root, download=download)


@on_every_rank
def train(
    net: str,
    *,
    recipe: str = "quick",
    data: str | None = None,
    root: str | Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    net_options: Mapping[str, Any] | None = None,
    data_options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    download: bool = True,
    progress: bool = True,
    command: Sequence[str] | None = None,
) -> Run:
    """Train a net by its recipe, test it, and keep everything in a new folder.

    The state is saved after each epoch. A signal ends the training early; `resume` goes on with it.
    Under torchrun all ranks train, and rank 0 keeps the run.

    Args:
        net: name of the net, as in `list_models`.
        recipe: which of the net's recipes, as in `recipes.list_recipes`.
        data: name of the data set, or a folder of pictures, for `data.cats_vs_dogs` if its
            subfolders are of cats and dogs or it has not a folder for each class, else for
            `data.image_folder`; None for the first data set that the recipe is for.
        root: where the data lie or are put; None for the data set's own choice.
        epochs: instead of the recipe's.
        batch_size: instead of the recipe's.
        lr: instead of the recipe's.
        net_options: what the net is built with, beside the recipe's.
        data_options: what the data function is told, beside the recipe's preparation.
        seed: rules the split, the order of the data and the first weights; None for the recipe's.
        device: "auto" or the name of a device.
        out: the run's folder; None for `runs/<net>-<data>-<n>`, n being the next free number.
        download: whether to fetch data that are not there.
        progress: whether to show a bar.
        command: the command line that asked for this, for the record.

    Raises:
        ConfigError: an argument that cannot work.
        DataError, DownloadError: the data are damaged or not to be had.
        StorageError: the folder holds a run already or cannot be written.
        DivergedError: the loss became NaN or infinite.
    """
    data, root = place_of(data, root)
    chosen = find_recipe(net, data, recipe)
    data = chosen.data
    seed = chosen.seed if seed is None else seed
    settings: dict[str, Any] = {**chosen.fit_settings(), "device": device, "seed": seed}
    given = {"epochs": epochs, "lr": lr}
    settings.update({name: value for name, value in given.items() if value is not None})
    told: dict[str, Any] = {
        **chosen.preparation,
        "batch_size": chosen.batch_size if batch_size is None else batch_size,
        "seed": seed,
    }
    if chosen.augment is not None:
        told["augment"] = dict(chosen.augment)
    told.update(data_options or {})
    ranks = find_ranks()
    splits = ranks.in_turn(
        lambda: load_data(data, told, root, download=download, progress=progress)
    )
    options = {**chosen.net_options, **(net_options or {})}
    if "num_classes" in signature(model_class(net)).parameters:
        options.setdefault("num_classes", len(splits.classes))
    model = _new_model(net, options, seed)
    num_classes = options.get("num_classes", len(splits.classes))
    if num_classes != len(splits.classes):
        raise ConfigError(
            f"num_classes is {num_classes}, but {data} has {len(splits.classes)} classes; "
            "leave the option out"
        )
    metrics: dict[str, Any] = {
        "format": 1,
        "classicnets": __version__,
        "net": {"name": net, "options": model.options},
        "data": {
            "name": data,
            "options": {**splits.options, **told},
            "root": None if root is None else str(Path(root).resolve()),
            "files": file_digests(splits),
        },
        "preparation": splits.preparation.to_dict(),
        "classes": list(splits.classes),
        "recipe": chosen.name,
        "fit": settings,
        "seed": seed,
        "threads": chosen.threads,
        "result": None,
        "versions": {name: version(name) for name in _PACKAGES},
        "command": None if command is None else list(command),
        "machine": _machine(),
    }
    folder = ranks.first(lambda: claim_folder(out, f"{net}-{data}", metrics))
    try:
        return _go_on(folder, model, splits, metrics, progress=progress, resume=False)
    except BaseException:
        if ranks.rank == 0:
            give_up(folder)
        raise


@on_every_rank
def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    device: str | None = None,
    root: str | Path | None = None,
    download: bool = True,
    progress: bool = True,
) -> Run:
    """Go on with a run from its newest whole checkpoint, to the bits it would have reached.

    Args:
        path: the folder of the run.
        epochs: how many the run shall have in all; None for as many as it was to have.
        device: instead of the run's.
        root: where the data lie; None for where they lay.
        download: whether to fetch data that are not there.
        progress: whether to show a bar.

    Raises:
        DataError: it is no run, or its `metrics.json` is damaged.
        ConfigError: the run has finished with more epochs.
        CheckpointMismatchError: the checkpoints are of another run.
        StorageError: the folder cannot be written, or another process is at work there.
    """
    folder, ranks = Path(path), find_ranks()
    metrics = ranks.first(lambda: read_metrics(folder))
    if epochs is not None and metrics["result"] is not None:
        done = ranks.first(lambda: len(read_history(folder, metrics["result"]).epochs))
        if epochs < done:
            raise ConfigError(f"epochs is {epochs}; this run has had {done} already: give more")
    for name, value in (("epochs", epochs), ("device", device)):
        if value is not None:
            metrics["fit"][name] = value
    for name in fit_arguments(metrics["fit"]):
        if name not in signature(fit).parameters:
            raise DataError(f"metrics.json of {str(folder)!r} is damaged at 'fit.{name}'")
    splits = ranks.in_turn(lambda: load_again(metrics, root, download=download, progress=progress))
    ranks.first(lambda: write_metrics(folder, {**metrics, "result": None}))
    model = _new_model(metrics["net"]["name"], metrics["net"]["options"], metrics["seed"])
    return _go_on(folder, model, splits, metrics, progress=progress, resume=True)


def _go_on(
    folder: Path,
    model: nn.Module,
    splits: "Splits",
    metrics: dict[str, Any],
    *,
    progress: bool,
    resume: bool,
) -> Run:
    """Train to the end, test, and fill the folder; a signal leaves the rest to `resume`."""
    with _threads(metrics["threads"]):
        history = fit(
            model,
            splits.train,
            val_loader=splits.val,
            progress=progress,
            checkpoint_dir=folder / "checkpoints",
            resume=resume,
            **fit_arguments(metrics["fit"]),
        )
    model.preparation = splits.preparation  # type: ignore[assignment]
    if history.interrupted:
        return Run(folder, model, history, {**metrics, "result": None})
    evaluation = evaluate(model, splits.test, loss=evaluation_loss(metrics["fit"]["loss"]))
    metrics["result"] = {
        "test": {
            "loss": evaluation.loss,
            "accuracy": evaluation.accuracy,
            "interval": evaluation.interval,
            "count": evaluation.count,
        },
        "best_epoch": history.best_epoch,
        "epochs": len(history.epochs),
        "stopped": history.stopped,
        "seconds": round(sum(record.seconds for record in history.epochs), 3),
    }
    metrics["machine"]["device"] = str(next(model.parameters()).device)
    run = Run(folder, model, history, metrics)
    find_ranks().first(lambda: _write(run, evaluation, splits.test))
    return run


def open_run(path: str | Path) -> Run:
    """Read a run back from its folder, or the one whose weights come with the library.

    Args:
        path: the folder that `train` wrote, or the name of a net; a run in a folder of that name
            goes before. Of the weights that come with the library there is no history.

    Raises:
        DataError: it is no folder of a finished run, or a file in it is damaged.
        ConfigError: `metrics.json` names a net or options that do not exist, or no weights come
            with the library for a net of that name.
        WeightsError: the weights are damaged or belong to another net.
    """
    folder = Path(path)
    if str(path) in list_models() and not (folder / "metrics.json").exists():
        return _shipped_run(model_card(str(path)))
    metrics = read_metrics(folder)
    if metrics["result"] is None:
        raise DataError(
            f"the run in {str(folder)!r} did not finish; go on: classicnets resume {folder}"
        )
    model = load(folder)
    return Run(folder, model, read_history(folder, metrics["result"]), metrics)


def _shipped_run(card: ModelCard) -> Run:
    metrics = {
        "classicnets": card.versions["classicnets"],
        "net": {"name": card.name, "options": card.net_options},
        "data": {"name": card.data, "options": card.data_options, "root": None},
        "preparation": card.preparation.to_dict(),
        "classes": card.classes,
        "recipe": card.recipe,
        "fit": card.fit,
        "seed": card.seed,
        "result": {
            "test": {
                "loss": card.loss,
                "accuracy": card.accuracy,
                "interval": card.interval,
                "count": card.count,
            }
        },
    }
    model = create_model(card.name, pretrained=True)
    return Run(card.path.parent, model, History(), metrics)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads of the CPU inside the block; None for as many as before."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _new_model(net: str, options: Mapping[str, Any], seed: int) -> nn.Module:
    """Build a net whose first weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(net, **options)


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }


def _write(run: Run, evaluation: Evaluation, test: Loader) -> None:
    """Fill the folder, the settings with the result last."""
    save_weights(run.model, run.path / "model.safetensors")
    history = run.history
    write_history(run.path, history)
    figures = {
        "confusion": plots.confusion(evaluation.confusion, run.classes),
        "predictions": run_plots.draw_grid("predictions", run.model, test, run.classes),
    }
    if history.step_losses:
        figures["curves"] = plots.curves(history)
    for kind, figure in figures.items():
        save_figure(figure, run.path / f"{kind}.png")
    write_metrics(run.path, run.metrics)
