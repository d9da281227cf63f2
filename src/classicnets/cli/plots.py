"""The command plot."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import DataRoot, NoDownload, RunOrNet
from .output import printable


def _kind(text: str) -> str:
    from ..run_plots import KINDS

    if text not in KINDS:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, KINDS))}.")
    return text


def plot(
    run: RunOrNet,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", parser=_kind, help="What to draw; see above.")
    ],
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGE",
            help="A picture, else the first of the test part.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .png, .pdf, .svg, .jpg or the like; else RUN/KIND.png.",
        ),
    ] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="RUN",
            help="With curves: another run, drawn over the first; give it again for more.",
        ),
    ] = None,
    mean: Annotated[
        bool, typer.Option("--mean", help="With --with: the mean of the runs and their range.")
    ] = False,
    root: DataRoot = None,
    no_download: NoDownload = False,
) -> None:
    """Draw a picture of a run.

    Of its results: curves (of the training), confusion (which class is taken for which),
    predictions, mistakes (the worst), doubts (the two likeliest classes closest together),
    embedding (test pictures in the last hidden layer).

    Of its net: filters, connections (where a table has them).

    Of one picture: activations (each layer), occlusion (what hiding a part does), gradient (which
    pixels count), response_norm (what local response normalisation does).
    """
    from ..run_folder import save_figure
    from ..runs import open_run

    opened = open_run(run)
    if others and kind == "curves" and image is None:
        from .. import plots

        histories = [opened.history, *(open_run(other).history for other in others)]
        figure = plots.curves(
            histories if mean else dict(zip(_names([run, *others]), histories, strict=True))
        )
    elif others or mean:
        raise typer.BadParameter(
            "--with names runs whose curves are drawn over each other, --mean is their mean; "
            "write `classicnets plot RUN curves --with OTHER`"
        )
    else:
        figure = opened.draw(kind, image=image, root=root, download=not no_download)
    path = output or _place(run, kind, image)
    save_figure(figure, path)
    typer.echo(printable(str(path)))


def _place(run: Path, kind: str, image: Path | None) -> Path:
    """In the folder of the run; here, if the run has none."""
    name = f"{kind}.png" if image is None else f"{kind}-{image.stem}.png"
    return run / name if run.is_dir() else Path(f"{run.name}-{name}")


def _names(runs: list[Path]) -> list[str]:
    """What the runs are called: by their folders' names, or paths where those are not enough."""
    names = [run.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    if len(set(names)) < len(names):
        raise typer.BadParameter("--with names the same run twice; give each once")
    return names
