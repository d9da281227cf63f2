"""The commands that train: train, resume."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import (
    DataOptions,
    DataRoot,
    Device,
    Json,
    NetName,
    NetOptions,
    NoDownload,
    Quiet,
    RunFolder,
    parse_options,
)
from .output import print_json, printable

if TYPE_CHECKING:
    from ..runs import Run

_SIGNAL_STATUS = {"SIGINT": 130, "SIGTERM": 143}


def train(
    name: NetName,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="RECIPE", help="quick, paper, modern, fast, tutorial: see `info NAME`."
        ),
    ] = "quick",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="A folder of pictures, or digits, mnist or fashion_mnist; else the first that the "
            "recipe is for.",
        ),
    ] = None,
    root: DataRoot = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes over the training part.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="Highest learning rate.")] = None,
    option: NetOptions = None,
    data_option: DataOptions = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Rules split, order and first weights.")
    ] = None,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The run's folder; else runs/NAME-DATA-N, a new N."),
    ] = None,
    no_download: NoDownload = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Train a net by its recipe, test it, keep the run.

    What is not given comes from the recipe: `classicnets info NAME` shows it. The folder gets the
    weights, the history, three pictures, and metrics.json with everything to repeat the run.
    """
    from .. import runs

    run = runs.train(
        name,
        recipe=recipe,
        data=data,
        root=root,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        net_options=parse_options(option),
        data_options=parse_options(data_option, "--data-option", "split=textbook"),
        seed=seed,
        device=device,
        out=out,
        download=not no_download,
        progress=not quiet,
        command=["classicnets", *sys.argv[1:]],
    )
    return _report(run, as_json)


def resume(
    folder: RunFolder,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="How many the run shall have in all.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Instead of the run's.")
    ] = None,
    root: DataRoot = None,
    no_download: NoDownload = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Go on with a run that was stopped or killed, to the bits it would have reached.

    It begins with the newest checkpoint that is whole, and names those it passes over.
    """
    from .. import runs
    from ..pretrained import read_metrics

    writes = os.environ.get("RANK", "0") == "0"  # and has the folder
    if writes and epochs is None and read_metrics(folder)["result"] is not None:
        typer.echo("this run had finished already; --epochs N goes on with it", err=True)
    run = runs.resume(
        folder,
        epochs=epochs,
        device=device,
        root=root,
        download=not no_download,
        progress=not quiet,
    )
    return _report(run, as_json)


def _report(run: "Run", as_json: bool) -> int:
    """Print what came of a run; return the exit status."""
    result, history = run.metrics["result"], run.history
    folder = printable(shlex.quote(str(run.path)))
    if as_json:
        print_json({"run": str(run.path), **run.metrics})
    elif result is None:
        epochs = "1 epoch" if len(history.epochs) == 1 else f"{len(history.epochs)} epochs"
        typer.echo(f"stopped by {history.stopped} after {epochs}, all of it saved")
        typer.echo(f"go on with    classicnets resume {folder}")
    else:
        test = result["test"]
        low, high = test["interval"]
        typer.echo(
            f"test accuracy {100 * test['accuracy']:.2f} % "
            f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %) on {test['count']:,} images, "
            f"after {result['seconds']:.1f} s of training"
        )
        typer.echo(f"run folder    {printable(str(run.path))}")
        typer.echo(f"try next      classicnets evaluate {folder}")
        pictures = run.metrics["preparation"]["channels"] == 3
        own = "a-picture-of-yours.jpg" if pictures else "a-digit-of-yours.png"
        typer.echo(f"              classicnets predict {folder} {own}")
    return _SIGNAL_STATUS.get(history.stopped or "", 0)
