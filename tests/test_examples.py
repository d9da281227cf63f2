"""Each example runs and ends in the number that it promises."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(
    load_script: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], ModuleType]:
    """Load an example by name; what it writes goes into an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda name: load_script(EXAMPLES / f"{name}.py")


def test_lenet5_reads_most_digits(example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    assert example("train_lenet5").main(epochs=5) > 0.8
    assert (tmp_path / "confusion.png").is_file()


def test_a_net_of_one_s_own_reads_most_digits(example: Callable[[str], ModuleType]) -> None:
    assert example("your_own_net").main(epochs=5) > 0.85


def test_pictures_of_one_s_own_are_told_apart(example: Callable[[str], ModuleType]) -> None:
    assert example("your_own_pictures").main(count=100, epochs=12) > 0.7


def test_today_s_net_does_not_lose_to_that_of_1998(example: Callable[[str], ModuleType]) -> None:
    assert -0.02 < example("then_and_now").main(epochs=6) < 0.3


def test_today_s_net_has_the_parameters_it_says(example: Callable[[str], ModuleType]) -> None:
    module = example("then_and_now")
    count = sum(weight.numel() for weight in module.net_of_today().parameters())
    assert f"{count:,} parameters" in module.net_of_today.__doc__


def test_onnx_runtime_gives_the_same_logits(example: Callable[[str], ModuleType]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    assert example("export_onnx").main(epochs=1) < 1e-4


def test_two_processes_learn_what_one_does() -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLES / "two_processes.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(run.stdout.split()[-1]) < 1e-4


def test_the_notebook_runs_and_shows_the_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "train_lenet5.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "commit the notebook without outputs"
            source = "".join(cell["source"]).replace("epochs=30", "epochs=5")
            exec(compile(source, "train_lenet5.ipynb", "exec"), names)  # noqa: S102
    assert names["result"].accuracy > 0.8


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_there_are_at_most_six() -> None:
    assert len(list(EXAMPLES.glob("*.py"))) in range(5, 7)
