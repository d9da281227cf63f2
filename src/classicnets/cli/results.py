"""Commands about a trained run: evaluate, predict."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import DataError
from .arguments import DataRoot, Device, Json, NoDownload, RunFolder
from .output import columns, print_json, printable, to_csv, to_json, write_text

_PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


class Part(StrEnum):
    """The parts of a data set."""

    train = "train"
    val = "val"
    test = "test"


def evaluate(
    run: RunFolder,
    part: Annotated[Part, typer.Option(help="Which part of the data.")] = Part.test,
    root: DataRoot = None,
    device: Device = "auto",
    no_download: NoDownload = False,
    as_json: Json = False,
) -> None:
    """Measure a trained net on its data.

    Accuracy with its 95 % interval, loss, and the share that is right in each class.
    """
    from ..runs import open_run
    from ..training import evaluate as measure

    opened = open_run(run)
    splits = opened.data(root=root, download=not no_download)
    loader = getattr(splits, part.value)
    evaluation = measure(opened.model, loader, device=device, loss=opened.loss)
    if as_json:
        print_json(
            {"run": str(run), "part": part.value, "classes": opened.classes, **evaluation.to_dict()}
        )
        return
    typer.echo(f"{part.value}: {evaluation}")
    counts = evaluation.confusion
    rows = [
        (printable(name), f"{counts[index].sum():,}", f"{100 * share:.1f} %")
        for index, (name, share) in enumerate(
            zip(opened.classes, evaluation.per_class_accuracy, strict=True)
        )
    ]
    typer.echo(columns([("class", "images", "right"), *rows], right=(1, 2)))


def predict(
    run: RunFolder,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Pictures, or folders of them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there, not to standard output."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what pictures show.

    A row for each: path, label and the probability of every class. A picture is made grey or RGB
    and brought to the size of the net as its data were; it is neither cropped nor inverted, so a
    digit should fill the picture, light on dark.

    In CSV, text that starts like a formula gets an apostrophe before it; JSON keeps every path
    exactly.
    """
    from ..runs import open_run
    from ..training import predict as ask

    opened = open_run(run)
    paths = [path for image in images for path in _pictures_at(image)]
    prediction = ask(opened.model, paths, device=device)
    labels = [opened.classes[label] for label in prediction.labels.tolist()]
    answers = list(zip(paths, labels, prediction.probabilities.tolist(), strict=True))
    if as_json:
        text = to_json(
            [
                {
                    "path": str(path),
                    "label": label,
                    "probabilities": dict(zip(opened.classes, shares, strict=True)),
                }
                for path, label, shares in answers
            ]
        )
    else:
        head = ["id", "path", "label", *(f"probability_{name}" for name in opened.classes)]
        rows = [
            [number, str(path), label, *(round(share, 6) for share in shares)]
            for number, (path, label, shares) in enumerate(answers, start=1)
        ]
        text = to_csv([head, *rows])
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)


def _pictures_at(path: Path) -> list[Path]:
    """The path itself, or the pictures in the folder that it is, by name."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)
    if not found:
        raise DataError(f"{str(path)!r} holds no picture ({', '.join(_PICTURES)}); give another")
    return found
