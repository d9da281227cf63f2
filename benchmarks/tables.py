"""Every file in `results/` as tables for the documentation.

    python benchmarks/tables.py [--out FILE]

A question whose file is missing is listed as not yet measured, with the command that measures it.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "_generated" / "benchmarks.md"
QUESTIONS = {
    "peers": ("`fit` beside other libraries", "python benchmarks/peers.py --root FOLDER"),
    "fast": (
        "The fast recipe beside the loop of a tutorial",
        "python benchmarks/fast.py --data FOLDER",
    ),
    "throughput": ("Training and inference of every net", "python benchmarks/throughput.py"),
    "gpu": ("On a GPU", "python benchmarks/gpu.py --root FOLDER"),
    "growth": ("Growth of time and memory", "python benchmarks/growth.py"),
    "distributed": (
        "Two processes on one machine",
        "python benchmarks/distributed.py --data mnist",
    ),
    "import_time": ("Importing", "python benchmarks/import_time.py"),
    "image_folder": ("Folders of pictures", "python benchmarks/image_folder.py FOLDER"),
    "alexnet": ("AlexNet beside torchvision's", "python benchmarks/alexnet.py"),
}
# what the parts of a question are called, and what they measure
PARTS = {
    "epochs": (
        "An epoch",
        "LeNet-5 on MNIST, batches of 64, each program in a fresh process, in turn. Seconds are "
        "scaled to 60,000 pictures; the ratio is to `fit` in the same round.",
    ),
    "close": (
        "Beside a loop tuned by hand",
        "Epochs in close turn, so that a percent can be seen.",
    ),
    "steps": (
        "A step",
        "What a step costs on `nn.Linear(1, 1)`, where the net costs nothing: above a bare loop, "
        "within the program, in the bare loop; and what a call costs before its first step.",
    ),
    "evaluation": ("Evaluation", "10,000 pictures; the ratio is to `evaluate` in the same round."),
    "epoch": (
        "LeNet-5 beside Lightning and the loop of the tutorials",
        "MNIST in batches of 64, SGD with momentum, float32; the second epoch of each. The slow "
        "ones were given 6,400 pictures.",
    ),
    "capture": (
        "A captured step",
        "The same net beside loops by hand whose batches lie ready on the device.",
    ),
    "compiled": ("Through `torch.compile`", "What it takes to compile is not counted."),
    "accuracy": (
        "How soon 99.0 %",
        "Seconds of training LeNet-5 on 55,000 pictures from each seed; 5,000 validate. The "
        "first seed's contain what a process does once.",
    ),
    "determinism": (
        "Twice the same",
        "Two runs from one seed under `torch.use_deterministic_algorithms`.",
    ),
    "alexnet": (
        "AlexNet beside torchvision's",
        "Batches of 1,024 in bf16, channels last; fractions are of a large matrix product.",
    ),
    "tests": ("The tests that need a GPU", ""),
    "throughput": ("Every net", "On the CPU and on the GPU of one machine."),
}
INTRODUCED = ("what", "unit")
ABOUT = ("command", "date", "machine", "versions")
MIDDLES = ("median", "mean")
NUMBER = re.compile(r"-?\d|$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(page(RESULTS), encoding="utf-8")


def page(folder: Path) -> str:
    sections = []
    for name, (title, command) in QUESTIONS.items():
        path = folder / f"{name}.json"
        text = f"Not yet measured; `{command}` does it."
        if path.exists():
            text = section(json.loads(path.read_text(encoding="utf-8")))
            if path.with_suffix(".png").exists():
                text += f"\n\n![{title}](../benchmarks/results/{name}.png)"
        sections.append(f"## {title}\n\n{text}\n")
    return "\n".join(sections)


def section(result: dict[str, Any]) -> str:
    """What was measured, part by part, and below it by which command and on what."""
    parts = []
    if "nets" in result:
        parts += [net(name, found) for name, found in result["nets"].items()]
    if "growth" in result:
        parts.append(growth(result["growth"]))
    known = (*ABOUT, *INTRODUCED, "nets", "growth")
    left = {key: value for key, value in result.items() if key not in known}
    if "command" not in result:
        left.pop("seconds", None)  # that it took to ask
    own = {key: value for key, value in left.items() if is_part(value)}
    for key, value in own.items():
        title, words = PARTS.get(key, (key.capitalize(), ""))
        parts += [f"### {title}", *([words] if words else []), section(value)]
    parts += [f"{result[key][0].upper()}{result[key][1:]}." for key in INTRODUCED if key in result]
    parts += told({key: value for key, value in left.items() if key not in own})
    if "command" in result:
        about = facts({key: result[key] for key in ABOUT[1:] if key in result})
        listed = "; ".join(dict.fromkeys(f"{path[-1]} {value}" for path, value in about))
        parts.append(f"Made by `{result['command']}`. {listed}.")
    return "\n\n".join(parts)


def is_part(value: Any) -> bool:
    """Whether something is a question of its own: it says how long it took, or its command."""
    return isinstance(value, dict) and (
        "command" in value or isinstance(value.get("seconds"), float)
    )


def told(tree: Any) -> list[str]:
    """A tree of measurements as tables: things measured alike share one, a row each."""
    alike = {key: value for key, value in items(tree) if is_record(value)}
    if len(alike) < 2:
        alike = {}
    left = [(key, value) for key, value in items(tree) if key not in alike and value is not None]
    single = [(key, value) for key, value in left if is_spread(value)]
    plain = [(key, value) for key, value in left if not isinstance(value, dict | list)]
    deep = [(key, value) for key, value in left if (key, value) not in (*single, *plain)]
    parts = wide(alike, isinstance(tree, dict)) if alike else []
    if single:
        heads = ("", "n", "median or mean", "lowest", "highest")
        parts.append(table(heads, [(clean(key), *of_spread(value)) for key, value in single]))
    if plain:
        parts.append("; ".join(f"{clean(key)} {word(value)}" for key, value in plain) + ".")
    for key, value in deep:
        inner = told(value)
        if inner and (len(deep) > 1 or parts):
            parts.append(f"**{clean(key).capitalize()}**")
        parts += inner
    return parts


def wide(rows: dict[str, dict[str, Any]], named: bool) -> list[str]:
    """One table of things measured alike, and what is the same for all of them."""
    fields = list(dict.fromkeys(field for row in rows.values() for field in row))
    same = [field for field in fields if is_same([row.get(field) for row in rows.values()])]
    shown = [field for field in fields if field not in same]
    measured = [value for row in rows.values() for value in row.values() if is_spread(value)]
    counts = [{value["n"] for value in row.values() if is_spread(value)} for row in rows.values()]
    middle = next(key for key in MIDDLES if key in measured[0])
    note = f"Each is the {middle} (lowest to highest)"
    heads = [*([""] if named else []), *map(clean, shown)]
    body = [
        [*([escaped(name)] if named else []), *(cell(row.get(field)) for field in shown)]
        for name, row in rows.items()
    ]
    if len(set().union(*counts)) == 1:
        note += f" of n = {measured[0]['n']}"
    elif all(len(count) == 1 for count in counts):
        heads.append("n")
        body = [[*cells, str(*count)] for cells, count in zip(body, counts, strict=True)]
    else:
        heads[-len(shown) :] = [
            f"{clean(field)}, n = {value['n']}" if is_spread(value) else clean(field)
            for field in shown
            for value in [next(row[field] for row in rows.values() if field in row)]
        ]
    told_once = next(iter(rows.values()))
    notes = [
        f"{clean(field)} {word(told_once[field])}" for field in same if told_once[field] is not None
    ]
    return ["{.dense .spreads}\n" + table(heads, body), "; ".join([note, *notes]) + "."]


def is_same(values: list[Any]) -> bool:
    """Whether single values are alike, so that one place can tell them."""
    return not any(map(is_spread, values)) and len(set(map(repr, values))) == 1


def is_record(value: Any) -> bool:
    """Whether something is a row: measurements and single values, nothing deeper."""
    return (
        isinstance(value, dict)
        and not is_spread(value)
        and any(map(is_spread, value.values()))
        and all(is_spread(each) or not isinstance(each, dict | list) for each in value.values())
    )


def cell(value: Any) -> str:
    return images(value) if is_spread(value) else word(value)


def word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, int | float):
        return number(value) if isinstance(value, float) else f"{value:,}"
    return escaped(str(value))


def clean(name: str) -> str:
    return escaped(name.replace("_", " "))


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def net(name: str, found: dict[str, Any]) -> str:
    """The speeds of one net, and the batch size from which on another device is the faster."""
    if "speeds" not in found:
        return f"`{name}`: not measured ({found['skipped']})."
    heads = ("batch", "device", "training", "inference", "data", "peak memory")
    rows, notes = [], []
    for device, measured in found["speeds"].items():
        for each in measured:
            if each["skipped"]:
                notes.append(f"Batch {each['batch_size']:,} on {device}: {each['skipped']}.")
                continue
            share = each["training"]["median"] / each["data"]["median"]
            peak = each["peak_bytes"]
            rows.append(
                (
                    f"{each['batch_size']:,}",
                    device,
                    images(each["training"]),
                    images(each["inference"]),
                    f"{100 * share:.0f} %",
                    "" if peak is None else f"{peak / 1e6:,.0f} MB",
                )
            )
    for device, words in found["advice"].items():
        notes += [f"{what.capitalize()} on {device}: {text}." for what, text in words.items()]
    text = f"`{name}`, images per second\n\n{table(heads, rows)}"
    return text + ("\n\n" + " ".join(notes) if notes else "")


def growth(found: dict[str, Any]) -> str:
    """What one more of something costs, and how straight the points lie on their line."""
    heads = ("what grows", "points", "time of", "one more takes", "R²", "and needs", "R²")
    rows = []
    for what, each in found.items():
        points, memory = list(each["time"]), list(each["memory, MB"].values())
        of_time, of_memory = each["line of time"], each["line of memory"]
        flat = max(memory) - min(memory) < 0.01 * min(memory)  # of which R² would be of noise
        rows.append(
            (
                what,
                f"{points[0]} to {points[-1]}",
                each["unit of time"].removeprefix("seconds ").removeprefix("in "),
                duration(of_time["slope"]),
                f"{of_time['r2']:.4f}",
                "0 MB" if flat else f"{of_memory['slope']:.3g} MB",
                "flat" if flat else f"{of_memory['r2']:.4f}",
            )
        )
    return (
        "Time, and the peak of a whole process's memory. Each point of time is a median of five."
        f"\n\n{{.dense}}\n{table(heads, rows)}"
    )


def duration(seconds: float) -> str:
    unit, factor = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    return f"{factor * seconds:.3g} {unit}"


def images(found: dict[str, Any]) -> str:
    """A measurement in a cell: its middle, lowest and highest."""
    _, middle, low, high = of_spread(found)
    return middle if low == high else f"{middle} ({low} to {high})"


def of_spread(tree: dict[str, Any]) -> tuple[str, str, str, str]:
    """n, the middle, the lowest and the highest."""
    low, high = (tree.get(a, tree.get(b)) for a, b in (("lowest", "min"), ("highest", "max")))
    middle = next(tree[key] for key in MIDDLES if key in tree)
    return str(tree["n"]), number(middle), number(low), number(high)


def facts(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each single value in a tree, with the way to it."""
    if isinstance(tree, dict | list):
        for key, value in items(tree):
            yield from facts(value, (*path, key))
    elif tree is not None:
        yield path, word(tree)


def is_spread(value: Any) -> bool:
    return isinstance(value, dict) and "n" in value and any(key in value for key in MIDDLES)


def items(tree: Any) -> list[tuple[str, Any]]:
    if isinstance(tree, dict):
        return list(tree.items())
    return (
        [(str(place), value) for place, value in enumerate(tree)] if isinstance(tree, list) else []
    )


def number(value: float) -> str:
    if 0 < abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.{max(0, 3 - len(str(int(abs(value)))))}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; columns of numbers stand to the right."""
    columns = list(zip(*rows, strict=True))
    marks = ["---:" if all(map(NUMBER.match, column)) else "---" for column in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---", *marks[1:]], *rows))


if __name__ == "__main__":
    main()
