"""Try a change of a recipe on validation pictures alone: a line a trial, kept whatever it says.

    python benchmarks/choose_recipe.py NET RECIPE [--set NAME=VALUE ...] [--seed 0] [--data FOLDER]

Of MNIST's 60,000 training pictures 10,000 validate, twice as many as in the recipes, for two
settings that differ by 0.05 % differ by five of them. The test pictures are not looked at. Lines go
to benchmarks/results/choices.jsonl.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from result_files import made_on

from classicnets import create_model, fit
from classicnets.recipes import find_recipe, fit_arguments
from classicnets.run_data import load_data

CHOICES = Path(__file__).parent / "results" / "choices.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net")
    parser.add_argument("recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="JSON values")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--precision", default="float32", help="of `fit`; bf16 is faster on some processors"
    )
    parser.add_argument("--data", type=Path, help="the folder of MNIST")
    given = parser.parse_args()
    changes = {
        name: json.loads(value) for name, _, value in (one.partition("=") for one in given.set)
    }
    recipe = replace(find_recipe(given.net, "mnist", given.recipe), **changes)
    options = {**recipe.preparation, "batch_size": recipe.batch_size, "val_size": 10_000}
    splits = load_data("mnist", {**options, "augment": recipe.augment, "seed": 0}, given.data)
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    model = create_model(recipe.net, **recipe.net_options)
    work = time.process_time()
    settings = fit_arguments(recipe.fit_settings())
    history = fit(
        model,
        splits.train,
        val_loader=splits.val,
        seed=given.seed,
        device="cpu",
        progress=False,
        precision=given.precision,
        **settings,
    )
    last = history.epochs[-1]
    line = {
        "net": given.net,
        "recipe": given.recipe,
        "changes": changes,
        "settings": {**recipe.fit_settings(), **options, "augment": recipe.augment},
        "epochs": recipe.epochs,
        "seed": given.seed,
        "precision": given.precision,
        "validation accuracy": last.val_accuracy,
        "validation loss": round(last.val_loss, 5),
        "training accuracy": round(last.train_accuracy, 5),
        "processor seconds": round(time.process_time() - work, 1),
        "accuracy of each epoch": [record.val_accuracy for record in history.epochs],
        "loss of each epoch": [round(record.val_loss, 5) for record in history.epochs],
        **made_on(),
    }
    with CHOICES.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line)


if __name__ == "__main__":
    main()
