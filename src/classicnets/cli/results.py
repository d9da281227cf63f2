"""Commands about a trained run: evaluate, predict."""

from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError
from .arguments import DataRoot, Device, Json, NoDownload, RunOrNet
from .output import columns, print_json, printable, to_csv, to_json, write_text

if TYPE_CHECKING:
    from ..photo import DigitPhoto


class Part(StrEnum):
    """The parts of a data set."""

    train = "train"
    val = "val"
    test = "test"


def evaluate(
    run: RunOrNet,
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
    if loader is None:
        raise DataError(f"part is {part.value}, and the split of this run has none; give another")
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
    run: RunOrNet,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Pictures, or folders of them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there, not to standard output."),
    ] = None,
    show: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the pictures there, beside what the net was given of them."
        ),
    ] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Take pictures whole, without search for a digit.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what pictures show.

    A row for each: path, label and the probability of every class. For a net of MNIST the digit is
    looked for in each picture: inverted if dark on light, cropped, fitted into 20x20 and centred,
    as MNIST's digits are; what was seen is told on standard error. For any other net, or --as-is, a
    picture is only made grey or RGB and brought to the size of the net.

    In CSV, text that starts like a formula gets an apostrophe before it; JSON keeps every path
    exactly.
    """
    from ..photo import digit_photo, draw_photos
    from ..run_folder import save_figure
    from ..runs import open_run
    from ..training import predict as ask

    opened = open_run(run)
    paths = [path for image in images for path in _pictures_at(image)]
    searched = opened.metrics["data"]["name"] == "mnist" and not as_is
    if show is not None and not searched:
        raise typer.BadParameter("--show is for nets of MNIST, and not together with --as-is")
    if not searched and not as_is and opened.metrics["preparation"]["channels"] == 1:
        for path in filter(_is_dark_on_light, paths):
            warning = "warning: it looks dark on light, and this net has learnt light on dark"
            typer.echo(printable(f"{path}: {warning}"), err=True)
    photos = [digit_photo(path) for path in paths] if searched else []
    pictures = [photo.picture for photo in photos] if searched else paths
    prediction = ask(opened.model, pictures, device=device)
    labels = [opened.classes[label] for label in prediction.labels.tolist()]
    for path, photo in zip(paths, photos, strict=False):
        seen = "; ".join((*photo.notes, *(f"warning: {text}" for text in photo.warnings)))
        typer.echo(printable(f"{path}: {seen}"), err=True)
    if show is not None:
        certainty = prediction.probabilities.max(1).values.tolist()
        save_figure(
            draw_photos(
                [
                    (path, photo, f"{label}, {100 * share:.1f} %")
                    for path, photo, label, share in zip(
                        paths, photos, labels, certainty, strict=True
                    )
                ]
            ),
            show,
        )
    answers = list(zip(paths, labels, prediction.probabilities.tolist(), strict=True))
    if as_json:
        text = to_json(
            [
                {
                    "path": str(path),
                    "label": label,
                    "probabilities": dict(zip(opened.classes, shares, strict=True)),
                    **({"seen": _seen(photos[number])} if searched else {}),
                }
                for number, (path, label, shares) in enumerate(answers)
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


def _is_dark_on_light(path: Path) -> bool:
    """Whether the edge of a picture is light; the sets of grey pictures are all dark there."""
    import numpy as np

    from ..pictures import read_picture

    levels = np.asarray(read_picture(path, channels=1))
    return float(np.mean([*levels[0], *levels[-1], *levels[:, 0], *levels[:, -1]])) > 127


def _seen(photo: "DigitPhoto") -> dict[str, Any]:
    values = {field.name: getattr(photo, field.name) for field in fields(photo)}
    del values["picture"]
    return values


def _pictures_at(path: Path) -> list[Path]:
    """The path itself, or the pictures in the folder that it is and in those below it, by name.

    Those that the folder's `exclude.json` names are left out, as they are when a net is trained.
    """
    from ..data.picture_files import ENDINGS, pictures
    from ..data.picture_set import read_exclusions

    if not path.is_dir():
        return [path]
    found = sorted(set(pictures(path)) - set(read_exclusions(path)))
    if not found:
        raise DataError(f"{str(path)!r} holds no picture ({', '.join(ENDINGS)}); give another")
    return [path / name for name in found]
