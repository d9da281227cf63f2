"""The tables of the documentation come from the files of results, and say what is missing."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    if not FOLDER.is_dir():
        pytest.skip("the benchmarks are not in the source distribution")
    monkeypatch.syspath_prepend(FOLDER)
    yield import_module("tables")
    sys.modules.pop("tables")


def spread(value: float) -> dict[str, float]:
    return {"n": 5, "median": value, "lowest": value / 2, "highest": 2 * value}


def test_what_is_missing_is_said_with_its_command(tables: Any, tmp_path: Path) -> None:
    text = tables.page(tmp_path)
    assert text.count("Not yet measured; `python benchmarks/") == len(tables.QUESTIONS)


def test_every_measurement_of_a_tree_is_a_row_with_its_spread(tables: Any, tmp_path: Path) -> None:
    result = {
        "command": "python benchmarks/import_time.py",
        "machine": {"processor": "a kind"},
        "ways": [{"statement": "import a", "milliseconds": spread(20.0)}],
        "theirs": {"n": 3, "mean": 0.5, "min": 0.25, "max": 1.0},
    }
    (tmp_path / "import_time.json").write_text(json.dumps(result))
    text = tables.page(tmp_path)
    assert "| ways: 0: milliseconds | 5 | 20.0 | 10.0 | 40.0 |" in text
    assert "| theirs | 3 | 0.5 | 0.25 | 1.00 |" in text
    assert "| ways: 0: statement | import a |" in text
    assert "Made by `python benchmarks/import_time.py`. processor a kind." in text


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
    assert "## Folders of pictures\n\n|" in tables.page(FOLDER / "results")
