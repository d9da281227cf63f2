"""The command that measures: bench."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import Json
from .output import columns, print_json, printable

if TYPE_CHECKING:
    from ..benchmark import Measurement, Spread


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Nets named by `classicnets list`; all, if none."),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, help="Images a step; give it again for another."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="DEVICE", help="cpu, cuda or mps; give it again for another."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.001, help="How long each repeat should be.")
    ] = 0.3,
    as_json: Json = False,
) -> None:
    """Measure how fast nets train and answer here.

    Images a second under `fit` and under `evaluate`, on random pictures: the median of three
    repeats, and how far from it the farthest is. "data" is what the loader takes of the time of
    training. With a GPU, also from which batch size on it is faster than the CPU.
    """
    from ..benchmark import advice, machine, measure, net_and_loss, versions
    from ..models import list_models, model_class
    from ..training.devices import resolve_device

    chosen = names or list_models()
    for name in chosen:
        model_class(name)  # a wrong one is told before the first is measured
    devices = device or list(dict.fromkeys(["cpu", resolve_device("auto").type]))
    about = {**machine(), **versions()}
    if not as_json:
        told = (f"{name} {value}" for name, value in about.items() if value is not None)
        typer.echo(printable(", ".join(told)))
    speeds: dict[str, dict[str, list[Measurement]]] = {}
    for name in chosen:
        model, loss = net_and_loss(name)
        found = speeds[name] = {}
        for place in devices:
            found[place] = list(
                measure(
                    model,
                    device=place,
                    batch_sizes=batch_size or (1, 16, 256),
                    loss=loss,
                    repeats=3,
                    seconds=seconds,
                    patience=2.0,
                )
            )
        if not as_json:
            typer.echo(f"\n{name}, images per second\n{speed_table(found)}")
            for place in devices if "cpu" in found else ():
                if place != "cpu":
                    for what in ("training", "inference"):
                        typer.echo(f"{what}: {advice(found['cpu'], found[place], what)}")
    if as_json:
        print_json(
            {
                "machine": machine(),
                "versions": versions(),
                "nets": {
                    name: {place: list(map(asdict, rows)) for place, rows in found.items()}
                    for name, found in speeds.items()
                },
            }
        )


def speed_table(found: "dict[str, list[Measurement]]") -> str:
    """A row for each batch size and device; a size that was skipped says why."""
    rows = [("batch", "device", "training", "inference", "data", "memory")]
    notes = []
    for place, measured in found.items():
        for each in measured:
            if each.skipped:
                notes.append(f"batch {each.batch_size} on {place} skipped: {each.skipped}")
            elif each.training and each.inference and each.data:
                share = each.training.median / each.data.median
                memory = "" if each.peak_bytes is None else f"{each.peak_bytes / 1e6:,.0f} MB"
                speeds = (_figure(each.training), _figure(each.inference))
                rows.append((str(each.batch_size), place, *speeds, f"{100 * share:.0f} %", memory))
    return "\n".join([columns(rows, right=(0, 2, 3, 4, 5)), *notes])


def _figure(each: "Spread") -> str:
    farthest = max(each.highest - each.median, each.median - each.lowest) / each.median
    digits = 0 if each.median >= 10 else 1
    return f"{each.median:,.{digits}f} ±{100 * farthest:.0f} %"
