"""The command export."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .arguments import RunOrNet
from .output import printable


class Format(StrEnum):
    """The formats of files."""

    onnx = "onnx"
    pt2 = "pt2"
    safetensors = "safetensors"


def export(
    run: RunOrNet,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="The format; else as FILE ends, else onnx.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; else NAME.onnx here."),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="With onnx: what each layer gives is an output too.")
    ] = False,
) -> None:
    """Write a trained net to a file for other programs.

    onnx and pt2 take any number of pictures at once and give the net's outputs; safetensors holds
    the weights alone. How a picture is prepared, and what the classes are called, is in the
    metadata.
    """
    from ..net_export import export as write
    from ..runs import open_run

    if form is not None and output is not None and output.suffix != f".{form.value}":
        raise typer.BadParameter(f"-o {output} does not end in .{form.value}, the --format")
    path = output or Path(f"{run.resolve().name}.{(form or Format.onnx).value}")
    opened = open_run(run)
    write(opened.model, path, classes=opened.classes, layers=layers)
    typer.echo(printable(str(path)))
