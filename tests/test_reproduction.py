import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from classicnets import LeNet5Paper
from classicnets.training.losses import own_distance

ROOT = Path(__file__).parents[1]


@pytest.fixture
def reproduction(tmp_path, monkeypatch):
    """The benchmark, writing to a folder of the test."""
    path = ROOT / "benchmarks" / "reproduction.py"
    spec = importlib.util.spec_from_file_location("reproduction", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reproduction", module)
    spec.loader.exec_module(module)
    module.RESULTS, module.PARTS = tmp_path / "results", tmp_path / "parts"
    return module


@pytest.fixture
def tiny(reproduction):
    """A row of two passes over 40 pictures."""
    reproduction.ROWS["tiny"] = replace(
        reproduction.ROWS["linear"], count=40, rates=[1e-3, 1e-4], distorted=True
    )
    return reproduction


def test_first_step_sizes_have_the_printed_range(reproduction, mnist_root):
    # printed: 7e-5 to 0.016; at most eta / mu = 0.025
    row = reproduction.ROWS["lenet5"]
    images, labels = next(reproduction.Pictures(row, mnist_root, 0).of_pass(0))
    net = LeNet5Paper()
    torch.manual_seed(0)
    reproduction.draw(net)
    optimizer = reproduction.DiagonalLM(net.parameters())
    optimizer.estimate(net, own_distance, images[:500], labels[:500])
    sizes = torch.cat([sizes.flatten() for sizes in optimizer.step_sizes().values()])
    assert 7e-5 / 4 < sizes.min() < 7e-5 * 4
    assert 0.012 < sizes.max() < 0.02


def test_weights_are_drawn_with_a_variance_of_one_over_the_inputs(reproduction):
    net = LeNet5Paper()
    reproduction.draw(net)
    for layer, inputs in ((net.features.c5, 400), (net.classifier.f6, 120)):
        assert layer.weight.var().item() == pytest.approx(1 / inputs, rel=0.05)
        assert not layer.bias.any()
    assert net.features.c3.weight[:18].abs().max() <= (3 / 75) ** 0.5
    assert net.features.c3.weight[-6:].abs().max() <= (3 / 150) ** 0.5


def test_a_killed_run_goes_on_to_the_same_figures(tiny, mnist_root):
    figures = []
    for seed_of_the_process, parts in ((1, (1, None)), (2, (None,))):
        for passes in parts:
            torch.manual_seed(seed_of_the_process)
            tiny.run("tiny", 5, mnist_root, passes)
            if passes:
                assert not tiny.RESULTS.exists()
        result = json.loads((tiny.RESULTS / "tiny-5.json").read_text())
        figures.append([
            {name: value for name, value in record.items() if "seconds" not in name}
            for record in result["records"]
        ])  # fmt: skip
        for file in (tiny.RESULTS / "tiny-5.json", tiny.PARTS / "tiny-5.pt"):
            file.unlink()
        tiny.RESULTS.rmdir()
    assert figures[0] == figures[1]
    assert [record["rate"] for record in figures[0]] == [1e-3, 1e-4]


def test_passes_keep_their_order_and_distorted_ones_come_in_ten_versions(tiny, mnist_root):
    def passes(row, *numbers):
        pictures = tiny.Pictures(row, mnist_root, 0)
        return [next(pictures.of_pass(number)) for number in numbers]

    plain = replace(tiny.ROWS["tiny"], distorted=False)
    first, second = passes(plain, 0, 1)
    assert torch.equal(first[0], second[0])
    itself, other, again = passes(tiny.ROWS["tiny"], 0, 1, 11)
    assert torch.equal(itself[0], first[0])
    assert not torch.equal(itself[0], other[0])
    assert torch.equal(other[0], again[0])
    assert len(other[0]) == 40


def test_the_table_gives_mean_spread_and_every_seed(reproduction):
    reproduction.RESULTS.mkdir()
    for seed, error in enumerate((0.9, 1.0, 1.1)):
        records = [
            {"test error, percent": error, "seconds": 9, "processor seconds": 60},
            {"test error, percent": error, "seconds": 9, "processor seconds": 120},
        ]
        text = reproduction.report("lenet5", seed, records)
        (reproduction.RESULTS / f"lenet5-{seed}.json").write_text(text)
    lines = reproduction.table().splitlines()
    (line,) = [line for line in lines if line.startswith("| LeNet-5 |")]
    assert "| 1.00 ± 0.10 % (0.90, 1.00, 1.10) | 2 | 3.0 min |" in line
    assert sum("not yet run" in line for line in lines) == len(reproduction.ROWS) - 1


def test_results_name_no_host_and_no_folder(reproduction):
    record = {"test error, percent": 1.0, "seconds": 1, "processor seconds": 1}
    result = json.loads(reproduction.report("lenet5", 0, [record]))
    assert set(result["machine"]) == {"processor", "threads"}
    assert str(ROOT) not in json.dumps(result)
