"""All questions about the GPU, in one script of less than eight minutes.

    python benchmarks/gpu.py [--root FOLDER] [--only QUESTION] [--out FILE]
    python benchmarks/gpu.py --device cpu --tiny     # a dry run of the same code, without a GPU

FOLDER has MNIST/raw. Each question is asked in a process of its own, so that one that fails does
not stop the others and none uses the memory of another; what is known so far is in the JSON file
after each. With --only, the answers that the file has to others stay. Speeds that are compared are
taken in turn, five times each.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for the deterministic runs

from gpu_alexnet import alexnet, alexnet_compiled
from gpu_lenet import accuracy, capture, compiled, determinism, epoch
from gpu_setting import Setting
from report import RESULTS, save, speeds_as_json

from classicnets import list_models
from classicnets.benchmark import Measurement, measure, net_and_loss
from classicnets.cli.benchmark import speed_table


def tests(setting: Setting) -> dict[str, Any]:
    """The tests that need a GPU and skip elsewhere, by the words in their names."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "cuda or gpu or captured",
        "-rfEs",
    ]
    with_gpu = [
        "tests/training/test_captured_step.py",
        "tests/training/test_kernels.py",
        "tests/training/test_step_cost.py",
        "tests/models/test_contract.py",
        "tests/data/test_loader.py",
    ]
    if find_spec("xdist") is not None:
        words += ["-n", "4", "-p", "no:benchmark"]  # whose plugin warns of the other
    words += with_gpu[:1] if setting.tiny else with_gpu
    root = Path(__file__).parents[1]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    *_, last = done.stdout.strip().splitlines() or [done.stderr[-300:]]
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"status": done.returncode, "summary": last, "failed": lines}


def throughput(setting: Setting) -> dict[str, Any]:
    """Every net on the CPU and on the GPU, as far as the time goes."""
    sizes = (1, 2) if setting.tiny else (1, 16, 64, 256, 1024, 4096)
    large_last = sorted(list_models(), key=lambda name: name.startswith("alexnet"))
    names = ["lenet1989"] if setting.tiny else large_last
    nets = {}
    for name in names:
        if setting.is_over:
            nets[name] = {"skipped": "out of time"}
            continue
        found: dict[str, list[Measurement]] = {}
        for device in dict.fromkeys(["cpu", setting.device]):
            model, loss = net_and_loss(name)
            found[device] = []
            for each in measure(
                model, device=device, batch_sizes=sizes, loss=loss, repeats=3,
                seconds=0.01 if setting.tiny else 0.05, patience=0.5,
            ):  # fmt: skip
                found[device].append(each)
                if setting.is_over:
                    break
        nets[name] = speeds_as_json(found)
        print(f"{name}\n{speed_table(found)}", flush=True)
    return {"nets": nets}


QUESTIONS = {
    "epoch": epoch,
    "capture": capture,
    "accuracy": accuracy,
    "determinism": determinism,
    "alexnet": alexnet,
    "tests": tests,
    "throughput": throughput,
    "compiled": compiled,
    "alexnet_compiled": alexnet_compiled,
}


def in_own_process(name: str, given: argparse.Namespace, out: Path, seconds: float) -> Any:
    """The answer to a question asked in another process, which leaves it in the file as well."""
    options = ["--device", given.device, "--rounds", str(given.rounds), "--out", str(out)]
    options += ["--tiny"] if given.tiny else []
    options += ["--root", str(given.root)] if given.root else []
    words = [sys.executable, "-X", "faulthandler", __file__, "--only", name, *options]
    words += ["--minutes", str(seconds / 60)]
    subprocess.run(words, check=True, timeout=seconds + 60)
    return answers_in(out)[name]


def answers_in(out: Path) -> dict[str, Any]:
    """The questions answered in a file."""
    found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    return {name: found[name] for name in QUESTIONS if name in found}


def show(value: Any, indent: str = "") -> None:
    """Print an answer as lines: a spread as its median and bounds."""
    for key, found in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(found, dict) and {"median", "lowest", "highest"} <= set(found):
            low, high = found["lowest"], found["highest"]
            print(f"{indent}{key}: {found['median']:.6g} ({low:.6g} to {high:.6g}, n {found['n']})")
        elif isinstance(found, dict | list):
            print(f"{indent}{key}:")
            show(found, indent + "  ")
        else:
            print(
                f"{indent}{key}: {found:.6g}"
                if isinstance(found, float)
                else f"{indent}{key}: {found}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--root", type=Path, help="folder that has MNIST/raw")
    parser.add_argument("--tiny", action="store_true", help="a dry run that measures nothing")
    parser.add_argument("--only", choices=QUESTIONS, action="append")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--rounds", type=int, help="default: 5, of a dry run 2")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.rounds = given.rounds or (2 if given.tiny else 5)
    warnings.filterwarnings("ignore", "the loss stayed within")  # noise cannot be learnt
    warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # torch.compile would use them
    root = given.root or os.environ.get("CLASSICNETS_DATA")
    begun = time.perf_counter()
    if root is None and not given.tiny:
        parser.error("name the folder that has MNIST/raw by --root or CLASSICNETS_DATA")
    deadline = begun + 60 * given.minutes
    setting = Setting(given.device, given.tiny, root and Path(root), deadline, given.rounds)
    out = given.out or RESULTS / ("gpu-dry-run.json" if given.tiny else "gpu.json")
    answers = answers_in(out) if given.only else {}
    for name in given.only or QUESTIONS:
        started = time.perf_counter()
        left = deadline - started
        try:
            if left < 0:
                answer = {"skipped": "out of time"}
            elif given.only:
                answer = QUESTIONS[name](setting)
            else:
                answer = in_own_process(name, given, out, left)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[:1]}"}
        answers[name] = {**answer, "seconds": round(time.perf_counter() - started, 1)}
        save({"device": given.device, "tiny": given.tiny, **answers}, out)
        if given.only or "error" in answer:
            print(f"\n{name}: {QUESTIONS[name].__doc__.splitlines()[0]}")
            if name != "throughput":
                show(answers[name], "  ")
    print(f"{time.perf_counter() - begun:.0f} s in all")


if __name__ == "__main__":
    main()
