"""Train the weights that come with the library, and write them with their cards.

    python benchmarks/build_weights.py [NET ...] [--root FOLDER] [--runs FOLDER]

For each net its recipe is run with each seed; the seed that is best on the validation part is kept,
and its accuracy on the test part is published whatever it is, beside that of the other seeds. Runs
are kept under `runs/weights`, so that a build that was stopped goes on.
"""

import argparse
import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from classicnets import runs
from classicnets.model_cards import ModelCard, cards_from

DATA = "mnist"
WEIGHTS = Path(__file__).parents[1] / "src" / "classicnets" / "weights"

# net -> the recipe that its weights are trained by, and the seeds
PLAN = {
    "lenet5": ("quick", (0,)),
}


def finished_run(net: str, recipe: str, seed: int, folder: Path, root: Path | None) -> runs.Run:
    """The run of that seed: read where it is finished, else gone on with, else begun."""
    path = folder / f"{net}-{recipe}-{seed}"
    if not (path / "metrics.json").exists():
        run = runs.train(net, recipe=recipe, data=DATA, root=root, seed=seed, out=path)
    elif json.loads((path / "metrics.json").read_text("utf-8"))["result"] is None:
        run = runs.resume(path, root=root)
    else:
        run = runs.open_run(path)
    if run.metrics["result"] is None:
        raise SystemExit(f"stopped; run this again to go on with {path}")
    return run


def validation(run: runs.Run) -> tuple[float, float]:
    """Accuracy of the epoch that was kept, and its loss negated: the higher the better."""
    best = run.history.epochs[run.history.best_epoch - 1]
    return best.val_accuracy, -best.val_loss


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
        machine=f"{machine['processor']}, {machine['cpus']} cores of which torch used "
        f"{machine['threads']}, device {machine['device']}",
        date=datetime.now(UTC).date().isoformat(),
    )


def build(net: str, folder: Path, root: Path | None, weights: Path = WEIGHTS) -> ModelCard:
    """Train a net by the plan, and put its weights and its card where the library looks."""
    recipe, seeds = PLAN[net]
    candidates = [finished_run(net, recipe, seed, folder, root) for seed in seeds]
    best = max(candidates, key=validation)
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
    parser.add_argument("--runs", type=Path, default=Path("runs", "weights"))
    arguments = parser.parse_args()
    for net in arguments.nets or PLAN:
        card = build(net, arguments.runs, arguments.root)
        print(f"{net}: seed {card.seed} of {card.seeds}, test accuracy {card.accuracy:.4f}")


if __name__ == "__main__":
    main()
