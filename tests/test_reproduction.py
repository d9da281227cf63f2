"""The benchmark that repeats the papers, on a few pictures."""

import dataclasses
import json
import statistics
from pathlib import Path

import pytest
import torch

from classicnets import create_model, data
from classicnets.recipes import find_recipe
from classicnets.training.levenberg_marquardt import DiagonalLM
from classicnets.training.losses import own_distance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "reproduction"


@pytest.fixture
def reproduction(tmp_path, monkeypatch, load_benchmark):
    """The benchmark, writing to a folder of the test."""
    module = load_benchmark("reproduction")
    module.RESULTS, module.PARTS = tmp_path / "results", tmp_path / "parts"
    row = module.ROWS["linear"]
    few = {**row.recipe.preparation, "train_size": 40}
    recipe = dataclasses.replace(row.recipe, preparation=few, epochs=2, schedule=[1e-3, 1e-4])
    monkeypatch.setitem(module.PAPERS, "linear", dataclasses.replace(row, recipe=recipe))
    monkeypatch.setitem(module.ROWS, "linear", module.PAPERS["linear"])
    return module


def test_first_step_sizes_have_the_printed_range(mnist_root):
    # printed: 7e-5 to 0.016; at most eta / mu = 0.025
    recipe = find_recipe("lenet5_paper", "mnist", "paper")
    loader = data.mnist(mnist_root, batch_size=500, **recipe.preparation).train
    images, labels = next(iter(loader))
    torch.manual_seed(0)
    net = create_model(recipe.net, **recipe.net_options)
    optimizer = DiagonalLM(net.parameters())
    optimizer.estimate(net, own_distance, images, labels)
    sizes = torch.cat([sizes.flatten() for sizes in optimizer.step_sizes().values()])
    assert 7e-5 / 4 < sizes.min() < 7e-5 * 4
    assert 0.012 < sizes.max() < 0.02


def test_a_run_writes_its_result_and_a_second_gives_the_same(reproduction, mnist_root):
    texts = []
    for _ in range(2):
        reproduction.run("linear", 3, mnist_root)
        (path,) = reproduction.RESULTS.iterdir()
        result = json.loads(path.read_text("utf-8"))
        path.unlink()
        texts.append({name: result[name] for name in ("test", "validation", "recipe")})
        assert result["command"] == "python benchmarks/reproduction.py run linear --seed 3"
        assert set(result["machine"]) == {"processor", "cores", "threads"}
        assert str(ROOT) not in json.dumps(result)
        assert [record["lr"] for record in result["history"]["epochs"]] == [1e-3, 1e-4]
    assert texts[0] == texts[1]


def test_a_recipe_of_the_library_is_run_as_the_command_runs_it(reproduction, monkeypatch):
    called = {}

    def train(net, **options):
        called.update(options, net=net)
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduction.runs, "train", train)
    with pytest.raises(KeyboardInterrupt):
        reproduction.run("lenet5", 1, None)
    assert (called["net"], called["recipe"]) == ("lenet5_paper", "paper")
    assert (called["data"], called["seed"]) == ("mnist", 1)


def test_the_table_gives_mean_spread_and_every_seed(reproduction, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", reproduction.RESULTS.parent)
    (reproduction.ROOT / "docs").mkdir()
    for seed, accuracy in enumerate((0.991, 0.99, 0.989)):
        result = {
            "name": "lenet5",
            "seed": seed,
            "test": {"accuracy": accuracy},
            "validation": {"accuracy": None},
            "seconds": 500.0,
            "processor seconds": 180.0 if seed else None,
            "history": {"epochs": [], "step_losses": []},
        }
        reproduction.write_result(reproduction.RESULTS / f"lenet5-{seed}.json", result)
    lines = reproduction.table().splitlines()
    (line,) = [line for line in lines if line.startswith("| LeNet-5 |")]
    assert "| 1.00 ± 0.10 (0.90, 1.00, 1.10) | 20 | 3.0 min |" in line
    missing = [line for line in lines if line.startswith("Not yet run: ")]
    assert "LeNet-5, distortions; LeNet-1; " in missing[0]
    assert sum(line.count(";") + 1 for line in missing) == len(reproduction.ROWS) - 1


def test_every_result_was_made_by_the_recipe_that_stands_there_now(reproduction):
    words = ("expected", "source", "note", "threads")
    for name, row in reproduction.ROWS.items():
        if name == "linear":  # of which the fixture has made another
            continue
        recipe = json.loads(json.dumps(dataclasses.asdict(row.recipe)))
        for result in reproduction.read_results(RESULTS, name):
            made = {"monitor": None, **result["recipe"]}  # older than that field
            assert {k: v for k, v in made.items() if k not in words} == {
                k: v for k, v in recipe.items() if k not in words
            }, (name, result["seed"])


def test_what_a_recipe_gives_to_expect_is_what_its_runs_gave(reproduction):
    checked = 0
    for name, row in reproduction.ROWS.items():
        expected, results = row.recipe.expected, reproduction.read_results(RESULTS, name)
        if expected is None or row.net is not None or "mended" in name:
            continue
        rates = [result["test"]["accuracy"] for result in results]
        found = statistics.mean(rates), min(rates), max(rates)
        assert found == pytest.approx(
            (expected.accuracy, expected.low, expected.high), abs=0.00005001
        ), name
        assert expected.seeds == len(rates)
        seconds = [result["processor seconds"] for result in results]
        kept = [one for one in seconds if one is not None]  # not of runs that were interrupted
        assert expected.seconds == pytest.approx(statistics.mean(kept), abs=0.5), name
        checked += 1
    assert checked >= 7


def test_an_experiment_finds_its_own_results_and_no_others(reproduction):
    for name in ("lenet5", "lenet5-more"):
        reproduction.write_result(
            reproduction.RESULTS / f"{name}-0.json", {"name": name, "seed": 0}
        )
    (found,) = reproduction.read_results(reproduction.RESULTS, "lenet5")
    assert found["name"] == "lenet5"
