"""The command line: `classicnets`, one module per group of commands.

Loading it imports neither torch nor matplotlib; a command imports what it needs when it runs.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from .. import __version__, errors
from . import benchmark, draw, export, folders, nets, plots, report, results, training
from .output import printable

__all__ = ["main"]

# name -> what it runs, examples for its help
_COMMANDS: dict[str, tuple[Callable[..., object], list[str]]] = {
    "list": (nets.list_nets, ["classicnets list"]),
    "info": (nets.info, ["classicnets info lenet5_paper", "classicnets info alexnet --json"]),
    "summary": (
        nets.summary,
        [
            "classicnets summary lenet5",
            "classicnets summary alexnet --option num_classes=2 --option 'hidden=[4096, 512]'",
            "classicnets summary alexnet --input-shape 3x256x256",
        ],
    ),
    "size": (
        nets.size,
        [
            "classicnets size 224 --kernel 11 --stride 4 --padding 2",
            "classicnets size 28 --kernel 2 --pool",
            "classicnets size 224x320 --kernel 3 --padding 1",
        ],
    ),
    "train": (
        training.train,
        [
            "classicnets train lenet5",
            "classicnets train lenet5 --data mnist --epochs 3",
            "classicnets train lenet5 --recipe modern --root ~/data",
            "classicnets train lenet5 --option activation=relu --option pooling=max --seed 1",
            "classicnets train lenet_catdog --data pictures/",
        ],
    ),
    "resume": (
        training.resume,
        [
            "classicnets resume runs/lenet5-mnist-1",
            "classicnets resume runs/lenet5-mnist-1 --epochs 10",
        ],
    ),
    "evaluate": (
        results.evaluate,
        [
            "classicnets evaluate runs/lenet5-digits-1",
            "classicnets evaluate runs/lenet5-mnist-1 --root ~/data --json",
            "classicnets evaluate lenet5",
        ],
    ),
    "predict": (
        results.predict,
        [
            "classicnets predict lenet5 photo.png --show seen.png",
            "classicnets predict runs/lenet5-digits-1 seven.png",
            "classicnets predict runs/lenet5-digits-1 scans/ -o predictions.csv",
            "classicnets predict runs/lenet_catdog-cats_vs_dogs-1 pictures/ -o predictions.csv",
        ],
    ),
    "plot": (
        plots.plot,
        [
            "classicnets plot runs/lenet5-digits-1 mistakes",
            "classicnets plot runs/lenet5-digits-1 activations seven.png -o seven.pdf",
            "classicnets plot runs/lenet5-digits-1 curves --with runs/lenet1-digits-1",
        ],
    ),
    "draw": (
        draw.draw,
        ["classicnets draw", "classicnets draw runs/lenet5_paper-mnist-1 --port 8000"],
    ),
    "report": (
        report.report,
        [
            "classicnets report runs/lenet5-digits-1",
            "classicnets report runs/lenet5-mnist-1 runs/lenet1-mnist-1 -o both.html",
        ],
    ),
    "export": (
        export.export,
        [
            "classicnets export lenet5",
            "classicnets export runs/lenet5-digits-1 --format pt2",
            "classicnets export lenet5 --layers -o lenet5-layers.onnx",
        ],
    ),
    "bench": (
        benchmark.bench,
        [
            "classicnets bench lenet5",
            "classicnets bench lenet5 alexnet --batch-size 1 --batch-size 64",
        ],
    ),
    "doctor": (
        folders.doctor,
        ["classicnets doctor pictures/", "classicnets doctor pictures/ --fix"],
    ),
}

_STATUS: dict[type[BaseException], int] = {
    errors.WeightsError: 4,
    errors.StorageError: 5,
    errors.DownloadError: 6,
    errors.DivergedError: 7,
    errors.WorkerDiedError: 8,
    errors.RankFailedError: 8,
    errors.ClassicNetsError: 3,
    OSError: 5,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; an error is one line on standard error.

    Of the processes that torchrun starts the first speaks for all.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--debug"] or ["--help"]
    with ExitStack() as stack:
        if _is_spoken_for():
            nothing = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nothing))
        return _run(words, debug="--debug" in given)


def _run(words: list[str], *, debug: bool) -> int:
    try:
        result = get_command(_build()).main(words, "classicnets", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if debug:
            traceback.print_exc()
        return _explain(error)
    return result if isinstance(result, int) else 0


def _build() -> typer.Typer:
    app = typer.Typer(
        help="The classic convolutional nets of 1989 to 2014: train, test and look into them.",
        epilog=_lines(
            "Exit status:",
            "0 done, 1 a bug, 2 wrong usage, 3 data or configuration, 4 weights,",
            "5 storage, 6 download, 7 training diverged, 8 a worker or rank died,",
            "130 and 143 interrupted, 141 output closed",
        ),
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, (function, examples) in _COMMANDS.items():
        app.command(name, epilog=_lines("Examples:", *examples))(function)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="With any command: show where an error comes from.")
    ] = False,
) -> None:
    """The options before a command."""


def _lines(title: str, *lines: str) -> str:
    """A paragraph of help that is not filled: the mark for that is a backspace."""
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])


def _explain(error: BaseException) -> int:
    """Print one line about an error and return the exit status."""
    if isinstance(error, SystemExit):  # typer ends so when the output is closed
        error = error.__context__ or error
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return _fail("interrupted", 130)
    if hasattr(error, "format_message"):  # what click and typer raise for wrong usage
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "classicnets"
        message = error.format_message().rstrip(".")
        return _fail(f"{message} (see {command} --help)", 2)
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return _fail(str(error), status)
    return _fail(
        f"{type(error).__name__}: {error}; this is a bug: please report what --debug shows", 1
    )


def _is_spoken_for() -> bool:
    """Whether another process of torchrun prints what this one would."""
    return os.environ.get("RANK", "0") != "0" and os.environ.get("WORLD_SIZE", "1") != "1"


def _fail(message: str, status: int) -> int:
    if _is_spoken_for() and status != _STATUS[errors.RankFailedError]:
        return status
    typer.echo(f"classicnets: error: {printable(' '.join(message.split()))}", err=True)
    return status
