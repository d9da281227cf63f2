"""The tables of the documentation come from the files of results, and say what is missing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def tables(load_benchmark: Any) -> Any:
    return load_benchmark("tables")


def spread(value: float) -> dict[str, float]:
    return {"n": 5, "median": value, "lowest": value / 2, "highest": 2 * value}


def test_what_is_missing_is_said_with_its_command(tables: Any, tmp_path: Path) -> None:
    text = tables.page(tmp_path)
    assert text.count("Not yet measured; `python benchmarks/") == len(tables.QUESTIONS)


def test_a_measurement_by_itself_is_a_row_with_its_spread(tables: Any, tmp_path: Path) -> None:
    result = {
        "command": "python benchmarks/import_time.py",
        "machine": {"processor": "a kind", "cores": 2},
        "versions": {"one": {"torch": "2.15.0"}, "other": {"torch": "2.15.0"}},
        "theirs": {"n": 3, "mean": 0.5, "min": 0.25, "max": 1.0},
        "deeper": {"pictures": 1234, "seconds": spread(20.0)},
    }
    (tmp_path / "import_time.json").write_text(json.dumps(result))
    text = tables.page(tmp_path)
    assert "| theirs | 3 | 0.5 | 0.25 | 1.00 |" in text
    assert "**Deeper**\n" in text
    assert "| seconds | 5 | 20.0 | 10.0 | 40.0 |" in text
    assert "pictures 1,234." in text
    assert "Made by `python benchmarks/import_time.py`. processor a kind; cores 2; torch" in text
    assert text.count("torch 2.15.0") == 1


def test_what_is_measured_alike_is_one_wide_table(tables: Any) -> None:
    rows = {
        "a_b": {"peak_bytes": spread(20.0), "loss": 0.5, "threads": 2, "gpu": None},
        "c": {"peak_bytes": spread(40.0), "threads": 2, "gpu": None},
    }
    table, note = tables.told({"rows": rows})
    assert table.splitlines()[1:] == [
        "|  | peak bytes | loss |",
        "| --- | ---: | ---: |",
        "| a_b | 20.0 (10.0 to 40.0) | 0.5 |",
        "| c | 40.0 (20.0 to 80.0) |  |",
    ]
    assert note == "Each is the median (lowest to highest) of n = 5; threads 2."


def test_of_a_wide_table_each_n_is_told(tables: Any) -> None:
    many = {**spread(1.0), "n": 9}
    by_row = {"a": {"x": spread(1.0), "y": spread(1.0)}, "b": {"x": many, "y": many}}
    assert "|  | x | y | n |" in tables.told(by_row)[0]
    by_column = {"a": {"x": spread(1.0), "y": many}, "b": {"x": spread(1.0), "y": many}}
    assert "|  | x, n = 5 | y, n = 9 |" in tables.told(by_column)[0]


def test_throughput_is_a_table_for_each_net_with_what_was_skipped(tables: Any) -> None:
    measured = {key: spread(100.0) for key in ("training", "inference", "data")}
    rows = [
        {"batch_size": 1, **measured, "peak_bytes": 2_000_000, "skipped": ""},
        {"batch_size": 4096, "skipped": "4096 do not fit in memory"},
    ]
    advice = {"cuda": {"training": "below batch 16 use the CPU"}}
    text = tables.section({"nets": {"lenet5": {"speeds": {"cuda": rows}, "advice": advice}}})
    speed = "100 (50.0 to 200)"
    assert f"| 1 | cuda | {speed} | {speed} | 100 % | 2 MB |" in text
    assert "Batch 4,096 on cuda: 4096 do not fit in memory." in text
    assert "Training on cuda: below batch 16 use the CPU." in text


def test_the_results_in_the_repository_can_be_told(tables: Any) -> None:
    text = tables.page(FOLDER / "results")
    assert "| Lightning (in memory) |" in text
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) < 250


def test_a_result_names_its_command_without_paths(
    load_benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--data=/home/me/data", "--repeats", "3", "lenet5", "--out", "there/a.json"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/throughput.py", *words])
    told = load_benchmark("report").command()
    assert told == "python benchmarks/throughput.py --data FOLDER --repeats 3 lenet5"


def test_growth_is_a_row_a_line_and_memory_that_stays_is_flat(tables: Any) -> None:
    line = {"slope": 0.5, "intercept": 1.0, "r2": 0.25}
    grows = {
        "unit of time": "seconds in all",
        "time": {"1": spread(1.0), "16": spread(9.0)},
        "line of time": line,
        "memory, MB": {"1": 700.0, "16": 701.0},
        "line of memory": line,
    }
    more = {**grows, "memory, MB": {"1": 700.0, "16": 900.0}}
    text = tables.section({"growth": {"epochs": grows, "batch": more}})
    assert "| epochs | 1 to 16 | all | 500 ms | 0.2500 | 0 MB | flat |" in text
    assert "| batch | 1 to 16 | all | 500 ms | 0.2500 | 0.5 MB | 0.2500 |" in text
