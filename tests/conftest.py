"""Fixtures that several test modules share."""

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# On nets this small two threads wait for each other more than they compute; children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What deterministic algorithms ask of cuBLAS, which looks once.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

from classicnets.runs import Run, train

ROOT = Path(__file__).parents[1]

# A shell has what it starts in the background ignore Ctrl-C; the tests that send it need it heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder with the four files of MNIST; a machine without them skips."""
    data = Path(os.environ.get("CLASSICNETS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "mnist" / "MNIST" / "raw").is_dir():
        pytest.skip(f"MNIST is not in {data}; name its folder in CLASSICNETS_TEST_DATA")
    return data / "mnist"


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of LeNet-5 on digits, three epochs long. Tests that change its folder copy it."""
    folder = tmp_path_factory.mktemp("runs") / "lenet5"
    command = ["classicnets", "train", "lenet5"]
    return train("lenet5", epochs=3, out=folder, progress=False, command=command)


@pytest.fixture
def load_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], ModuleType]:
    """Load a script, anew, and for this test alone."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def load_result() -> Callable[[str], Any]:
    """Read a file of benchmarks/results/ by name."""

    def load(name: str) -> Any:
        path = ROOT / "benchmarks" / "results" / f"{name}.json"
        if not path.exists():
            pytest.skip("the results are not in the source distribution")
        return json.loads(path.read_text(encoding="utf-8"))

    return load


@pytest.fixture
def load_benchmark(
    load_script: Callable[[Path], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], ModuleType]:
    """Load a script of benchmarks/ by name."""
    folder = ROOT / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not in the source distribution")
    monkeypatch.syspath_prepend(folder)
    return lambda name: load_script(folder / f"{name}.py")
