"""The quick tier of the harness, run once in a process of its own, each row reported as a test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = (
    *("K2", "K3", "K5", "K5 lost"),
    *("K4 torch.save", "K4 no digest", "K4 no sync", "K4 half a rename"),
    *("F1", "F2", "F2 weights", "F3", "F4", "F4 sparse", "F5", "F5 inside"),
    *("F4 F5 honest", "F6", "F9", "F10"),
    *("K1", "K1 aimed", "K4 random", "K6", "K7 once", "K7 twice", "K6 K7 command", "K8", "R1"),
    *("N1", "N2", "N3", "W1", "W2", "W3"),
    *("growth", "growth leak", "holdings", "holdings leak", "S1", "S1 leak"),
    *("D1", "D1 real", "D3", "D3 read-only", "D3 odd names", "D4", "D4 readers", "D6", "D7"),
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the fault harness forks, limits and mounts as Linux does"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    file = tmp_path_factory.mktemp("faults") / "results.json"
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--quick", "--json", str(file)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert file.exists(), run.stdout + run.stderr
    return {row["name"]: row for row in json.loads(file.read_text())["rows"]}


@pytest.mark.parametrize("name", ROWS)
def test_nothing_is_lost_or_run_and_every_fault_fired(results, name):
    row = results[name]
    if row["skipped"]:
        pytest.skip(row["skipped"])
    assert row["failures"] == []
    assert row["passed"], f"only {row['fired']} of {row['trials']} faults fired"


def test_every_row_of_the_harness_is_a_test(results):
    assert results.keys() == set(ROWS)
