"""Arguments that several commands share, and how their text is read."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
NetName = Annotated[str, typer.Argument(metavar="NAME", help="A net named by `classicnets list`.")]
NetOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="An option of the net, such as activation=relu; give it again for another.",
    ),
]
DataOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="An option of the data, such as split=textbook or on_bad=skip; give it again for "
        "another.",
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
RunOrNet = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|NAME",
        help="The folder of a run, or a net whose weights come with the library.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps; auto takes the first there is."
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where the data lie or are put; else the folder that CLASSICNETS_DATA names.",
    ),
]
NoDownload = Annotated[
    bool, typer.Option("--no-download", help="Fail rather than fetch missing data.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def parse_size(text: str) -> int | tuple[int, int]:
    """Read 224 as an int, 224x320 as height and width.

    Raises:
        BadParameter: the text is something else.
    """
    numbers = _numbers(text)
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    raise typer.BadParameter(f"{text!r} is no size; write 224, or 224x320 for height and width")


def parse_shape(text: str) -> tuple[int, int, int]:
    """Read 3x224x224 as channels, height and width.

    Raises:
        BadParameter: the text is something else.
    """
    numbers = _numbers(text)
    if len(numbers) != 3:
        raise typer.BadParameter(f"{text!r} is no input shape; write one like 3x224x224")
    return numbers[0], numbers[1], numbers[2]


def _numbers(text: str) -> list[int]:
    parts = text.split("x")
    return [int(part) for part in parts] if all(map(_is_number, parts)) else []


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def parse_options(
    pairs: list[str] | None, name: str = "--option", example: str = "activation=relu"
) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value that is JSON is taken as such, any other as a string.

    Raises:
        BadParameter: a pair has no = sign.
    """
    options: dict[str, Any] = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not (key.isidentifier() and sign):
            raise typer.BadParameter(f"{name} {pair!r} is not KEY=VALUE, such as {example}")
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options
