"""Train the weights that come with the library, and write them with their cards.

    python benchmarks/build_weights.py [NET ...] [--root FOLDER] [--runs FOLDER]

For each net its recipe is run with each seed; the seed that is best on its validation part is kept,
by what the recipe monitors, and its accuracy on the test part is published whatever it is, beside
that of the other seeds. Each seed sets other pictures aside to validate, some easier than others:
the best by them is seldom the best by the test part, and is not chosen for being it. The runs are
those of benchmarks/reproduction.py; what is missing is trained, and a build that was stopped goes
on.
"""

import argparse
import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from reproduction import PARTS, ROWS, finished_run

from classicnets import benchmark, runs
from classicnets.model_cards import ModelCard, cards_from

WEIGHTS = Path(__file__).parents[1] / "src" / "classicnets" / "weights"

# the row of benchmarks/reproduction.py whose best run each net takes
PLAN = {name.removeprefix("modern-"): name for name in ROWS if name.startswith("modern-")}


def validation(run: runs.Run) -> tuple[float, float]:
    """Accuracy of the epoch that was kept, and its loss negated: the higher the better."""
    best = run.history.epochs[run.history.best_epoch - 1]
    return best.val_accuracy, -best.val_loss


def rank(run: runs.Run) -> tuple[float, float]:
    """Accuracy first, or what the recipe monitors."""
    figures = validation(run)
    return figures[::-1] if run.metrics["fit"].get("monitor") == "loss" else figures


def card_of(run: runs.Run, candidates: list[runs.Run], sha256: str) -> ModelCard:
    metrics, test = run.metrics, run.metrics["result"]["test"]
    machine = metrics["machine"]
    options = {k: v for k, v in metrics["data"]["options"].items() if k != "augment"}
    settings = {k: v for k, v in metrics["fit"].items() if k not in ("device", "seed")}
    return ModelCard(
        name=metrics["net"]["name"],
        net_options=metrics["net"]["options"],
        recipe=metrics["recipe"],
        fit=settings,
        seed=metrics["seed"],
        seeds={
            str(one.metrics["seed"]): {
                "validation": round(validation(one)[0], 6),
                "validation loss": round(-validation(one)[1], 6),
                "test": round(one.metrics["result"]["test"]["accuracy"], 6),
            }
            for one in candidates
        },
        data=metrics["data"]["name"],
        data_options=options,
        preparation=run.model.preparation,
        classes=run.classes,
        accuracy=test["accuracy"],
        interval=tuple(test["interval"]),
        loss=test["loss"],
        count=test["count"],
        sha256=sha256,
        licence="MIT",
        versions={"classicnets": metrics["classicnets"], **metrics["versions"]},
        machine=f"{benchmark.machine()['processor']}, {machine['cpus']} cores of which torch used "
        f"{machine['threads']}, device {machine['device']}",
        date=datetime.now(UTC).date().isoformat(),
    )


def build(net: str, folder: Path, root: Path | None, weights: Path = WEIGHTS) -> ModelCard:
    """Train a net by the plan, and put its weights and its card where the library looks."""
    name = PLAN[net]
    row = ROWS[name]
    candidates = [
        finished_run(row.recipe, seed, root, folder / f"{name}-{seed}") for seed in row.seeds
    ]
    best = max(candidates, key=rank)
    weights.mkdir(exist_ok=True)
    source = best.path / "model.safetensors"
    card = card_of(best, candidates, hashlib.sha256(source.read_bytes()).hexdigest())
    shutil.copyfile(source, weights / f"{net}.safetensors")
    cards = {**cards_from(weights), net: card}
    entries = [cards[name].to_dict() for name in sorted(cards)]
    (weights / "cards.json").write_text(json.dumps(entries, indent=2) + "\n", "utf-8")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", metavar="NET", help=f"of {', '.join(PLAN)}; else all")
    parser.add_argument("--root", type=Path, help="where MNIST lies")
    parser.add_argument("--runs", type=Path, default=PARTS)
    arguments = parser.parse_args()
    for net in arguments.nets or PLAN:
        card = build(net, arguments.runs, arguments.root)
        print(f"{net}: seed {card.seed} of {card.seeds}, test accuracy {card.accuracy:.4f}")


if __name__ == "__main__":
    main()
