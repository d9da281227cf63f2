"""The benchmark of cats and dogs: its results are those of the recipes that stand there now."""

import json
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(load_benchmark):
    return load_benchmark("cats_vs_dogs")


def test_every_result_was_made_by_the_recipe_that_stands_there_now(benchmark):
    checked = 0
    for name, experiment in benchmark.EXPERIMENTS.items():
        recipe = experiment.recipe
        settings = {**recipe.fit_settings(), "batch_size": recipe.batch_size}
        for result in benchmark.read_results(benchmark.RESULTS, name):
            assert result["settings"] == json.loads(json.dumps(settings)), name
            preparation = {**recipe.preparation, "split": None}
            assert (
                result["data"].items() >= {**preparation, "split": result["data"]["split"]}.items()
            )
            assert result["pictures"] == experiment.pictures
            assert result["test"]["count"] == (200 if experiment.pictures == 1600 else 1400)
            assert len(result["history"]["epochs"]) == experiment.took_steps * recipe.epochs
            assert result["seed"] in experiment.seeds
            assert str(ROOT) not in json.dumps(result)
            checked += 1
    assert checked == len(list(benchmark.RESULTS.glob("*.json")))


@pytest.mark.parametrize("net", ["lenet_catdog", "alexnet"])
def test_what_a_recipe_gives_to_expect_is_what_its_runs_gave(benchmark, net):
    expected = benchmark.EXPERIMENTS[f"{net}-400"].recipe.expected
    results = benchmark.read_results(benchmark.RESULTS, f"{net}-400")
    rates = [result["test"]["accuracy"] for result in results]
    assert (expected.accuracy, expected.low, expected.high) == pytest.approx(
        (statistics.mean(rates), min(rates), max(rates)), abs=0.00005001
    )
    assert expected.seeds == len(rates) >= 3
    seconds = statistics.mean(
        result["processor seconds"] or result["seconds"] for result in results
    )
    assert expected.seconds == pytest.approx(seconds, abs=0.5)


def test_the_page_is_the_one_that_the_results_give(benchmark, tmp_path, monkeypatch):
    written = (ROOT / "docs" / "cats_and_dogs.md").read_text("utf-8")
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    assert benchmark.table() == written


def test_both_nets_learn_and_alexnet_passes_three_in_four(benchmark):
    for name in ("lenet_catdog-400", "alexnet-400", "lenet_catdog-1600", "alexnet-1600"):
        for result in benchmark.read_results(benchmark.RESULTS, name):
            assert result["test"]["interval"][0] > 0.55, name  # chance is 0.5
    rates = [
        one["test"]["accuracy"] for one in benchmark.read_results(benchmark.RESULTS, "alexnet-1600")
    ]
    assert min(rates) > 0.75
