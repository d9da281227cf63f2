"""The command about a folder of pictures: doctor."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import Json
from .output import columns, print_json, printable

Fix = Annotated[
    bool,
    typer.Option(
        "--fix", help="Write the list of files to leave out, exclude.json; nothing is deleted."
    ),
]


def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of pictures, one folder a class.")
    ],
    fix: Fix = False,
    as_json: Json = False,
) -> int:
    """Find what breaks training on a folder of pictures, or poisons it.

    Bad files, copies of one picture, oddities: each by name. The exit status is 3 while training
    would fail: files should be left out and are not, or a class has none left.
    """
    from ..data import doctor as examine

    report = examine(folder, progress=True)
    excluded = report.exclusions
    written = report.write_exclusions() if fix and excluded else None
    if as_json:
        print_json({**report.to_dict(), "exclude": excluded, "written": written and str(written)})
    else:
        counts = ", ".join(f"{count} {name}" for name, count in report.classes.items())
        rows = [(fault.kind, fault.name, fault.detail) for fault in report.faults]
        if rows:
            typer.echo(columns([tuple(map(printable, row)) for row in rows]) + "\n")
        typer.echo(printable(f"{counts}; {len(excluded)} to leave out, {report.excluded} left out"))
        if written:
            typer.echo(printable(str(written)))
        elif excluded:
            typer.echo("--fix writes the list that the loaders read; nothing is deleted")
    empty = [fault.name for fault in report.faults if fault.kind == "empty class"]
    if empty and not as_json:
        typer.echo(
            printable(f"classes without pictures: {', '.join(empty)}; add some, or remove them")
        )
    return 3 if empty or (excluded and not written) else 0
