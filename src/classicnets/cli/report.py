"""The command report."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import DataRoot, NoDownload
from .output import printable


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|NAME",
            help="Folders of runs, or nets whose weights come with the library.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="An .html file.")
    ] = Path("report.html"),
    root: DataRoot = None,
    no_download: NoDownload = False,
) -> None:
    """Write one HTML file about a run, or about several and their comparison.

    The result with its interval, the command that repeats the run, settings, curves, confusion,
    worst mistakes, the net layer by layer. The file opens from disk and loads nothing.
    """
    from ..run_report import write_report
    from ..runs import open_run

    write_report([open_run(run) for run in runs], output, root=root, download=not no_download)
    typer.echo(printable(str(output)))
