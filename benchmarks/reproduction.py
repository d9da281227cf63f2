"""The papers of 1989 and 1998 repeated: one result file a run, and the table of them all.

    python benchmarks/reproduction.py run ROW --seed 0 [--data FOLDER]
    python benchmarks/reproduction.py queue [ROW:SEED ...] [--data FOLDER]
    python benchmarks/reproduction.py table

Every net is trained picture by picture on the 60,000 pictures of MNIST (the 1989 net on 7,291) by
stochastic diagonal Levenberg-Marquardt. The figure is the error on the test part after the last
pass; the errors after the passes before it are written down and choose nothing. A run that was
killed goes on after its last whole pass. `queue` makes the runs that have no result yet, by
default all of them. `table` writes docs/reproduction.md.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from classicnets import LeNet1, LeNet5Paper, LeNet1989, data, evaluate
from classicnets.data.distortions import Distortions
from classicnets.layers import ScaledTanh, TableConv2d, UnitBiasConv2d
from classicnets.training.levenberg_marquardt import PRINTED_RATES, DiagonalLM
from classicnets.training.losses import Loss, own_distance, signed_mse
from classicnets.training.pattern_steps import PatternStep, one_pass

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "reproduction"
PARTS = ROOT / "runs" / "reproduction"  # what killed runs go on from
SAMPLES = 500  # for the curvatures, before each pass
VERSIONS = 10  # of each picture, where distorted: itself and nine more


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """The squared error summed over the outputs, as the papers have it."""
    return outputs.shape[1] * signed_mse(outputs, labels)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def hidden300() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), ScaledTanh(), nn.Linear(300, 10), ScaledTanh()
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table.

    Attributes:
        title: the net and its data.
        printed: the error in the paper, percent.
        source: where it stands there.
        net: makes the net.
        rates: learning rate of each pass.
        loss: a mean over pictures.
        pictures: what `data.mnist` is told.
        symmetric: whether pixels are put from 0..1 to -1..1.
        count: pictures of a pass, the first so many of the training part; None for all.
        distorted: whether nine of ten pictures are distorted.
        seeds: those of the runs.
        difference: a sentence on where the figures differ.
    """

    title: str
    printed: float
    source: str
    net: Callable[[], nn.Module]
    rates: Sequence[float] = PRINTED_RATES
    loss: Loss = squared_error
    pictures: dict[str, Any] = field(default_factory=dict)
    symmetric: bool = False
    count: int | None = None
    distorted: bool = False
    seeds: Sequence[int] = (0, 1, 2)
    difference: str = ""


PREFACE = """# The papers of 1989 and 1998, repeated

Written by `python benchmarks/reproduction.py table` from `benchmarks/results/reproduction`.
Errors are those on MNIST's 10,000 test pictures after the last pass, in percent; ours are the mean
and the standard deviation over seeds (in brackets each of them, none left out). Nothing was chosen
by the test part: settings are those printed for LeNet-5, for the other nets too, whose papers print
none.
The time is the processor time of one run, which has one thread.

Initial weights are uniform with variance 1/F, F the inputs of the unit, not the printed +-2.4/F.
With the latter the signals of LeNet-5 fade from layer to layer, its curvatures are near 0, so that
nearly all step sizes are eta/mu = 0.025, and on the first pass it diverges (mean loss above 200
after 1,000 pictures). With the former the first steps lie between 3e-5 and 0.017; printed are 7e-5
and 0.016.

| net | printed | here | passes | time of a run | machine |
|---|---|---|---|---|---|"""

PAPER = {"normalize": "paper"}

ROWS = {
    "lenet5": Row(
        title="LeNet-5",
        printed=0.95,
        source="LeCun et al. 1998, Sec. III.B",
        net=LeNet5Paper,
        loss=own_distance,
        pictures={"image_size": 32, **PAPER},
    ),
    "lenet5_distorted": Row(
        title="LeNet-5, distortions",
        printed=0.8,
        source="LeCun et al. 1998, Sec. III.B",
        net=LeNet5Paper,
        loss=own_distance,
        pictures={"image_size": 32, **PAPER},
        distorted=True,
    ),
    "lenet1": Row(
        title="LeNet-1",
        printed=1.7,
        source="LeCun et al. 1998, Sec. III.C.7",
        net=LeNet1,
        pictures={"image_size": 28, "digit_size": 16, "normalize": "none"},
        symmetric=True,
    ),
    "lenet1989": Row(
        title="The net of 1989",
        printed=5.0,
        source="LeCun et al., Neural Computation 1(4) 1989",
        net=LeNet1989,
        rates=[*PRINTED_RATES, *[1e-5] * 3],
        pictures={"image_size": 16, "normalize": "none"},
        symmetric=True,
        count=7291,
        seeds=range(5),
    ),
    "hidden300": Row(
        title="28x28-300-10",
        printed=4.7,
        source="LeCun et al. 1998, Fig. 9",
        net=hidden300,
        pictures={"image_size": 28, **PAPER},
    ),
    "linear": Row(
        title="Linear classifier",
        printed=12.0,
        source="LeCun et al. 1998, Fig. 9",
        net=linear,
        pictures={"image_size": 28, **PAPER},
        seeds=range(5),
    ),
}


def draw(net: nn.Module) -> None:
    """Draw the weights uniformly with variance 1/F, F the inputs of the unit; biases are 0."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, TableConv2d | UnitBiasConv2d):
                inputs = [len(maps) * layer.kernel_size**2 for maps in layer.table for _ in maps]
                bounds = (3 / torch.tensor(inputs)).sqrt().view(-1, 1, 1)
                layer.weight.uniform_(-1, 1).mul_(bounds)
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.uniform_(-1, 1).mul_((3 / layer.weight[0].numel()) ** 0.5)
                layer.bias.zero_()


class Pictures:
    """The pictures of each pass, in large batches, and those that test."""

    def __init__(self, row: Row, root: Path | None, seed: int) -> None:
        self._row = row
        options = {"root": root, "batch_size": 1000, "val_size": 0, "seed": seed, **row.pictures}
        self._plain = data.mnist(**options)
        self._distorted = data.mnist(**options, augment=Distortions())
        self.test = list(self._prepared(self._plain.test))

    def of_pass(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One random order for all passes, each picture once.

        Where distorted: that order for the pictures themselves, and one for each of nine versions,
        which follow one another and then begin again.
        """
        version = number % VERSIONS if self._row.distorted else 0
        loader = (self._distorted if version else self._plain).train
        loader.set_epoch(version)
        left = self._row.count or loader.num_images
        for images, labels in self._prepared(loader):
            yield images[:left], labels[:left]
            left -= len(images)
            if left <= 0:
                break

    def _prepared(self, batches: Any) -> Any:
        if not self._row.symmetric:
            return batches
        return ((2 * images - 1, labels) for images, labels in batches)


def run(name: str, seed: int, root: Path | None, passes: int | None = None) -> None:
    """Train one net, and write its result file; go on where an earlier process was killed."""
    row = ROWS[name]
    rates = row.rates[:passes]
    torch.manual_seed(seed)
    net = row.net()
    draw(net)
    optimizer = DiagonalLM(net.parameters())
    shape = getattr(net, "input_shape", (1, 28, 28))
    step = PatternStep(net, row.loss, optimizer, input_shape=shape)
    pictures = Pictures(row, root, seed)
    part = PARTS / f"{name}-{seed}.pt"
    records: list[dict[str, Any]] = []
    if part.exists():
        state = torch.load(part, weights_only=True)
        net.load_state_dict(state["net"])
        records = state["records"]
    for number in range(len(records), len(rates)):
        began, work = time.perf_counter(), time.process_time()
        optimizer.param_groups[0]["lr"] = rates[number]
        images, labels = next(pictures.of_pass(number))
        optimizer.estimate(net, row.loss, images[:SAMPLES], labels[:SAMPLES])
        sizes = torch.cat([sizes.flatten() for sizes in optimizer.step_sizes().values()])
        loss, accuracy = one_pass(step, pictures.of_pass(number))
        seconds, work = time.perf_counter() - began, time.process_time() - work
        result = evaluate(net, pictures.test)
        records.append(
            {
                "pass": number + 1,
                "rate": rates[number],
                "smallest step": float(f"{sizes.min():.3g}"),
                "largest step": float(f"{sizes.max():.3g}"),
                "training loss": round(loss, 5),
                "training error, percent": round(100 * (1 - accuracy), 3),
                "test error, percent": round(100 * (1 - result.accuracy), 3),
                "seconds": round(seconds, 1),
                "processor seconds": round(work, 1),
            }
        )
        print(name, seed, records[-1], flush=True)
        write(part, lambda path: torch.save({"net": net.state_dict(), "records": records}, path))
    if len(records) == len(row.rates):
        text = report(name, seed, records)
        write(RESULTS / f"{name}-{seed}.json", lambda path: path.write_text(text))


def report(name: str, seed: int, records: list[dict[str, Any]]) -> str:
    result = {
        "command": f"python benchmarks/reproduction.py run {name} --seed {seed}",
        "row": name,
        "seed": seed,
        "passes": len(records),
        "test error, percent": records[-1]["test error, percent"],
        "seconds": round(sum(record["seconds"] for record in records), 1),
        "machine": {"processor": processor(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "records": records,
    }
    return json.dumps(result, indent=2) + "\n"


def write(path: Path, save: Callable[[Path], Any]) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save(partial)
    partial.replace(path)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table() -> str:
    """The page of all results, from their files."""
    lines = [PREFACE]
    for name, row in ROWS.items():
        results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{name}-*.json"))]
        lines.append(line_of(row, results))
    differences = [f"- {row.title}: {row.difference}" for row in ROWS.values() if row.difference]
    if differences:
        lines += ["", "## Where they differ", "", *differences]
    return "\n".join(lines) + "\n"


def line_of(row: Row, results: list[dict[str, Any]]) -> str:
    printed = f"{row.printed:g} % ({row.source})"
    if not results:
        return f"| {row.title} | {printed} | not yet run | {len(row.rates)} |  |  |"
    errors = [result["test error, percent"] for result in results]
    spread = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
    each = ", ".join(f"{error:.2f}" for error in errors)
    work = [record["processor seconds"] for result in results for record in result["records"]]
    minutes = sum(work) / len(results) / 60
    passes = sorted({result["passes"] for result in results})
    machines = sorted({result["machine"]["processor"] for result in results})
    return (
        f"| {row.title} | {printed} | {statistics.mean(errors):.2f}{spread} % ({each}) "
        f"| {', '.join(map(str, passes))} | {minutes:.1f} min | {', '.join(machines)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="train one net from one seed")
    one.add_argument("row", choices=ROWS)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--passes", type=int, help="fewer than the row has; writes no result")
    queue = commands.add_parser("queue", help="make the runs that have no result yet")
    queue.add_argument("runs", nargs="*", metavar="ROW:SEED")
    for command in (one, queue):
        command.add_argument("--data", type=Path, help="the folder of MNIST")
    commands.add_parser("table", help="write docs/reproduction.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "table":
        (ROOT / "docs" / "reproduction.md").write_text(table(), encoding="utf-8")
    elif given.command == "run":
        run(given.row, given.seed, given.data, given.passes)
    else:
        everything = [f"{name}:{seed}" for name, row in ROWS.items() for seed in row.seeds]
        for wanted in given.runs or everything:
            name, _, seed = wanted.partition(":")
            if not (RESULTS / f"{name}-{seed}.json").exists():
                run(name, int(seed), given.data)


if __name__ == "__main__":
    main()
