"""`fit` on LeNet-5 beside everybody else, on the CPU.

    python benchmarks/peers.py --root FOLDER          # FOLDER has MNIST/raw

One command: it makes an environment for each peer under `benchmarks/.environments` (by uv where
there is one, which shares the files of torch between them; else by venv and pip, and then each is
as large as torch), runs everything, prints tables and writes `benchmarks/results/peers.json`.

Four parts, each by itself with `--parts`:

epochs      an epoch of training under each peer, a fresh process each time, five rounds in turn
close       `fit`, `fit` with everything on, and the hand-tuned loop in close turn, so that a
            percent can be seen; whole ones, or the end of an epoch would weigh too much
steps       what a step on nn.Linear(1, 1) costs above a bare loop
evaluation  10,000 pictures

Ratios are of times in the same round. Each peer has the threads it takes by itself; `--threads`
binds all to so many processors. Seconds are for 60,000 pictures, scaled from `--images`.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ALL = 60_000

ENVIRONMENTS = {
    "classicnets": ["-e", f"{HERE.parent}[export]", "onnxruntime"],
    "lightning": ["lightning", "torch", "torchvision"],
    "skorch": ["skorch", "torch", "torchvision"],
    "ignite": ["pytorch-ignite", "torch", "torchvision"],
    "accelerate": ["accelerate", "torch", "torchvision"],
    "fastai": ["fastai", "torch", "torchvision"],
    "keras_torch": ["keras", "torch", "torchvision"],
    "keras_jax": ["keras", "jax"],
    "equinox": ["equinox", "optax", "jax"],
}
VERSIONS = """
import json, sys
from importlib.metadata import distributions
print(json.dumps({d.name: d.version for d in distributions() if d.name in sys.argv}))
"""
NAMED = (
    "torch torchvision numpy lightning skorch pytorch-ignite accelerate fastai keras jax jaxlib "
    "equinox optax onnx onnxruntime classicnets"
)


@dataclass(frozen=True)
class Peer:
    name: str
    environment: str
    script: str
    options: tuple[str, ...] = ()
    keras_backend: str = ""


TRANSFORMS = ("--data", "transforms")
FIT = Peer("fit", "classicnets", "with_classicnets")
EVERYTHING = Peer(
    "fit, bar, checkpoint", "classicnets", "with_classicnets", ("--data", "everything")
)
HAND_TUNED = Peer("PyTorch tuned by hand", "classicnets", "hand_tuned")
IDIOMATIC = [
    Peer("tutorial's loop", "classicnets", "tutorial_loop", TRANSFORMS),
    Peer("tutorial's loop, 2 workers", "classicnets", "tutorial_loop", ("--data", "workers")),
    Peer("Lightning", "lightning", "with_lightning", TRANSFORMS),
    Peer("skorch", "skorch", "with_skorch", TRANSFORMS),
    Peer("ignite", "ignite", "with_ignite", TRANSFORMS),
    Peer("Accelerate", "accelerate", "with_accelerate", TRANSFORMS),
    Peer("fastai", "fastai", "with_fastai", TRANSFORMS),
    Peer("Keras on torch", "keras_torch", "with_keras", TRANSFORMS, "torch"),
]
ON_TORCH = [
    Peer("Lightning", "lightning", "with_lightning"),
    Peer("Lightning, lean", "lightning", "with_lightning", ("--lean",)),
    Peer("skorch", "skorch", "with_skorch"),
    Peer("ignite", "ignite", "with_ignite"),
    Peer("Accelerate", "accelerate", "with_accelerate"),
    Peer("fastai", "fastai", "with_fastai"),
    Peer("Keras on torch", "keras_torch", "with_keras", (), "torch"),
]
IN_MEMORY = [
    Peer("tutorial's loop", "classicnets", "tutorial_loop"),
    *ON_TORCH,
    Peer("Keras on JAX", "keras_jax", "with_keras", (), "jax"),
    Peer("Equinox and optax, jitted", "equinox", "with_equinox"),
]
GROUPS = {
    "classicnets": [FIT, EVERYTHING],
    "by hand": [HAND_TUNED],
    "DataLoader, transforms": IDIOMATIC,
    "in memory": IN_MEMORY,
}
WAYS = {
    way: Peer(way, "classicnets", "evaluation", ("--data", way))
    for way in (
        "evaluate",
        "eager",
        "channels_last",
        "compiled",
        "onnxruntime",
        "validation",
        "no_validation",
    )
}


def python_of(environment: str) -> Path:
    folder = HERE / ".environments" / environment
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_environment(name: str) -> dict[str, str]:
    """Make it if it is not there; the versions of what is in it."""
    folder, packages = HERE / ".environments" / name, ENVIRONMENTS[name]
    done, python, uv = folder / "installed.txt", python_of(name), shutil.which("uv")
    if not done.exists() or done.read_text() != "\n".join(packages):
        print(f"making the environment of {name}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        if uv:
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
            subprocess.run([uv, "pip", "install", "-q", "--python", python, *packages], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        done.write_text("\n".join(packages))
    command = [python, "-c", VERSIONS, *NAMED.split()]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


class Process:
    """A peer in a process of its own, which has warmed up and waits for the word."""

    def __init__(self, peer: Peer, given: argparse.Namespace, *options: str) -> None:
        script = HERE / "peers" / f"{peer.script}.py"
        variables = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TERM": "xterm"}
        if peer.keras_backend:
            variables["KERAS_BACKEND"] = peer.keras_backend
        self.peer = peer
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python_of(peer.environment), script, "--root", given.root, *peer.options, *options],
            env=os.environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.first = self.answer()

    def answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise ChildProcessError(f"{self.peer.name} failed: {self._log.read()[-2000:]}")
        return json.loads(line)

    def epoch(self) -> dict[str, Any]:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._log.close()


def in_turn(peers: list[Peer], given: argparse.Namespace, images: int, epochs: int) -> Any:
    """An epoch of each in turn, there and back, all alive: the answers of each."""
    answers: dict[Peer, list[dict[str, Any]]] = {peer: [] for peer in peers}
    alive = []
    for peer in peers:
        try:
            alive.append(Process(peer, given, "--wait", "--images", str(images)))
        except ChildProcessError as error:
            print(error, file=sys.stderr)
    for number in range(epochs):
        for process in alive[:: -1 if number % 2 else 1]:
            try:
                answers[process.peer].append(process.first | process.epoch())
            except OSError as error:  # it failed, now or before
                print(error, file=sys.stderr)
    for process in alive:
        process.close()
    return answers


def add(total: dict[Peer, list[Any]], more: dict[Peer, list[Any]]) -> None:
    for peer, answers in more.items():
        total.setdefault(peer, []).extend(answers)


def row(answers: list[dict[str, Any]], base: list[dict[str, Any]], scale: float) -> dict[str, Any]:
    """Seconds, ratios to the base in the same turn, and what the last answer tells."""
    seconds = [answer["seconds"] * scale for answer in answers]
    result = {"seconds": spread(seconds)}
    if len(answers) == len(base):
        pairs = zip(answers, base, strict=True)
        result["ratio"] = spread([one["seconds"] / other["seconds"] for one, other in pairs])
    result["warm-up seconds"] = round(median(answer["warm_up_seconds"] for answer in answers), 2)
    told = ("loss", "accuracy", "batch_size", "parameters", "threads", "peak_gigabytes")
    return result | {name: answers[-1][name] for name in told if name in answers[-1]}


def epochs(given: argparse.Namespace) -> dict[str, Any]:
    """Each peer once a round, a fresh process each time."""
    peers = [peer for group in GROUPS.values() for peer in group]
    answers: dict[Peer, list[Any]] = {}
    for number in range(given.rounds):
        for peer in peers[:: -1 if number % 2 else 1]:
            print(f"round {number + 1}/{given.rounds} {peer.name:40}", end="\r", file=sys.stderr)
            add(answers, in_turn([peer], given, given.images, 1))
    scale = ALL / given.images
    return {
        f"{peer.name} ({group})": row(answers[peer], answers[FIT], scale)
        for group, group_peers in GROUPS.items()
        for peer in group_peers
        if answers[peer]
    }


def close(given: argparse.Namespace) -> dict[str, Any]:
    """Six epochs of each in close turn, in fresh processes each round."""
    answers: dict[Peer, list[Any]] = {}
    for _ in range(given.rounds):
        add(answers, in_turn([FIT, EVERYTHING, HAND_TUNED], given, given.images, 6))
    scale = ALL / given.images
    return {peer.name: row(found, answers[FIT], scale) for peer, found in answers.items() if found}


def steps(given: argparse.Namespace) -> dict[str, Any]:
    """Each beside its own bare loop, in one process."""
    result = {}
    for peer in [FIT, *ON_TORCH]:
        try:
            process = Process(peer, given, "--part", "steps", "--seconds", str(2 * given.rounds))
        except ChildProcessError as error:
            print(error, file=sys.stderr)
        else:
            result[peer.name] = process.first
            process.close()
    return result


def evaluation(given: argparse.Namespace) -> dict[str, Any]:
    """Four passes of each way in close turn, in fresh processes each round."""
    answers: dict[Peer, list[Any]] = {}
    for _ in range(given.rounds):
        add(answers, in_turn(list(WAYS.values()), given, 10_000, 4))
    base, with_it, without = (
        answers[WAYS[way]] for way in ("evaluate", "validation", "no_validation")
    )
    result = {way: row(answers[peer], base, 1) for way, peer in WAYS.items() if answers[peer]}
    ratios = [
        (one["seconds"] - other["seconds"]) / alone["seconds"]
        for one, other, alone in zip(with_it, without, base, strict=True)
    ]
    return result | {"validation less no_validation, over evaluate": spread(ratios)}


PARTS = {"epochs": epochs, "close": close, "steps": steps, "evaluation": evaluation}


def spread(values: list[float]) -> dict[str, Any]:
    low, middle, high = (float(f"{f(values):.4g}") for f in (min, median, max))
    return {"n": len(values), "median": middle, "min": low, "max": high}


def machine(given: argparse.Namespace) -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "processors": os.cpu_count(),
        "bound to": given.threads or "all",
        "system": platform.system(),
        "load before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def table(part: str, rows: dict[str, Any]) -> str:
    """A line per row: what was measured as median, lowest and highest, the rest as it is."""
    lines = [f"\n{part}"]
    for name, values in rows.items():
        values = {"": values} if "median" in values else values
        texts = [
            f"{key} {value['median']:g} ({value['min']:g} to {value['max']:g})"
            if isinstance(value, dict)
            else f"{key} {value:.4g}"
            if isinstance(value, float)
            else f"{key} {value}"
            for key, value in values.items()
        ]
        lines.append(f"  {name:50} " + "  ".join(text.strip() for text in texts))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder that has MNIST/raw")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--images", type=int, help="of an epoch; 60000 for close, else 12800")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="bind all to so many processors")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "peers.json")
    given = parser.parse_args()
    given.root = given.root.resolve()
    if given.threads:
        os.environ["OMP_NUM_THREADS"] = str(given.threads)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    versions = {name: make_environment(name) for name in ENVIRONMENTS}
    result = json.loads(given.out.read_text()) if given.out.exists() else {}
    asked = given.images
    for part in given.parts:
        given.images = asked or (ALL if part == "close" else 12_800)
        about = {
            "command": "python benchmarks/peers.py --root FOLDER "
            f"--parts {part} --images {given.images} --rounds {given.rounds}"
            + (f" --threads {given.threads}" if given.threads else ""),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(given),
            "versions": versions,
        }
        rows = PARTS[part](given)
        result[part] = about | {"rows": rows}
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(table(part, rows))


if __name__ == "__main__":
    main()
