"""Every file in `results/` as tables for the documentation.

    python benchmarks/tables.py [--out FILE]

A question whose file is missing is listed as not yet measured, with the command that measures it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "_generated" / "benchmarks.md"
QUESTIONS = {
    "peers": ("`fit` beside other libraries", "python benchmarks/peers.py --root FOLDER"),
    "throughput": ("Training and inference of every net", "python benchmarks/throughput.py"),
    "gpu": ("On a GPU", "python benchmarks/gpu.py --root FOLDER"),
    "growth": ("Growth of time and memory", "python benchmarks/growth.py"),
    "import_time": ("Importing", "python benchmarks/import_time.py"),
    "image_folder": ("Folders of pictures", "python benchmarks/image_folder.py FOLDER"),
    "alexnet": ("AlexNet beside torchvision's", "python benchmarks/alexnet.py"),
}
ABOUT = ("command", "date", "unit", "machine", "versions")
MIDDLES = ("median", "mean")


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
    left = {key: value for key, value in result.items() if key not in (*ABOUT, "nets")}
    own = {key: value for key, value in left.items() if is_part(value)}
    parts += [f"### {key.capitalize()}\n\n{section(value)}" for key, value in own.items()]
    left = {key: value for key, value in left.items() if key not in own}
    measured, told = list(spreads(left)), list(facts(left))
    if measured:
        parts.append(table(("", "n", "median or mean", "lowest", "highest"), measured))
    if told:
        parts.append(table(("", ""), told))
    if "command" in result:
        about = facts({key: result[key] for key in ABOUT if key in result and key != "command"})
        listed = "; ".join(f"{name.rpartition(': ')[2]} {value}" for name, value in about)
        parts.append(f"Made by `{result['command']}`. {listed}.")
    return "\n\n".join(parts)


def is_part(value: Any) -> bool:
    """Whether something is a question of its own: it says how long it took, or its command."""
    return isinstance(value, dict) and (
        "command" in value or isinstance(value.get("seconds"), float)
    )


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


def images(found: dict[str, Any]) -> str:
    return f"{number(found['median'])} ({number(found['lowest'])} to {number(found['highest'])})"


def spreads(tree: Any, path: tuple[str, ...] = ()) -> Iterator[Sequence[str]]:
    """A row for each measurement in a tree of them: whatever has an n and a median or mean."""
    if is_spread(tree):
        low, high = (tree.get(a, tree.get(b)) for a, b in (("lowest", "min"), ("highest", "max")))
        middle = next(tree[key] for key in MIDDLES if key in tree)
        yield named(path), str(tree["n"]), *map(number, (middle, low, high))
    else:
        for key, value in items(tree):
            yield from spreads(value, (*path, key))


def facts(tree: Any, path: tuple[str, ...] = ()) -> Iterator[Sequence[str]]:
    """A row for each single value in a tree that is no measurement."""
    if is_spread(tree) or tree is None:
        return
    if isinstance(tree, dict | list):
        for key, value in items(tree):
            yield from facts(value, (*path, key))
    else:
        yield named(path), number(tree) if isinstance(tree, float) else str(tree)


def is_spread(value: Any) -> bool:
    return isinstance(value, dict) and "n" in value and any(key in value for key in MIDDLES)


def items(tree: Any) -> list[tuple[str, Any]]:
    if isinstance(tree, dict):
        return list(tree.items())
    return (
        [(str(place), value) for place, value in enumerate(tree)] if isinstance(tree, list) else []
    )


def named(path: Sequence[str]) -> str:
    return ": ".join(path).replace("|", "\\|")


def number(value: float) -> str:
    if 0 < abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.{max(0, 3 - len(str(int(abs(value)))))}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *("---:" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, marks, *rows))


if __name__ == "__main__":
    main()
