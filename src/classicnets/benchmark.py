"""How fast nets train and answer on this machine: `classicnets bench` and `benchmarks/` use it.

Training is `fit`, inference is `evaluate`, data is the reading of the loader alone, each as a user
gets it, on random pictures that lie on the device. A first pass warms up and is not counted. The
clock is read when the device has finished, no batch comes twice in a pass, and the figure is the
median of several passes.
"""

import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from .data import TensorLoader
from .errors import ConfigError, OutOfMemoryError
from .preparation import Preparation
from .pretrained import create_model
from .recipes import list_recipes
from .training import evaluate, fit
from .training.devices import resolve_device

__all__ = [
    "BATCH_SIZES",
    "Measurement",
    "Spread",
    "advice",
    "crossover",
    "machine",
    "measure",
    "net_and_loss",
    "resident_bytes",
    "spread",
    "versions",
]

BATCH_SIZES = (1, 4, 16, 64, 256, 1024, 4096)

_EPOCH_IMAGES = 65_536  # about an epoch of MNIST; no pass is longer that can be shorter


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of n repeats, and the lowest and highest of them."""

    n: int
    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One net at one batch size on one device.

    Attributes:
        batch_size: images a step.
        training: images a second under `fit`.
        inference: images a second under `evaluate`.
        data: images a second of the loader alone; both of the above contain it.
        peak_bytes: the most memory in use while it trained: on CUDA that of tensors, on the CPU
            what the process grew by since the first size; None where the system does not tell.
        skipped: why there are no figures, empty where there are.
    """

    batch_size: int
    training: Spread | None = None
    inference: Spread | None = None
    data: Spread | None = None
    peak_bytes: int | None = None
    skipped: str = ""


def measure(
    model: nn.Module,
    *,
    device: str | torch.device = "cpu",
    batch_sizes: Iterable[int] = BATCH_SIZES,
    loss: str | None = None,
    repeats: int = 5,
    seconds: float = 0.5,
    patience: float = 5.0,
) -> Iterator[Measurement]:
    """Measure a net at each batch size, in ascending order, and give each as it is done.

    Args:
        model: a net with an `input_shape`; it is trained on noise, so give one to spare.
        device: where to measure; the model stays there.
        batch_sizes: images a step, each at least 1.
        loss: what `fit` and `evaluate` are told.
        repeats: passes counted, at least 1.
        seconds: how long a pass of training should be, above 0.
        patience: a size at which a step would take more seconds is skipped, and all above it.

    Raises:
        ConfigError: an argument out of range, or the model has no `input_shape`.
        DeviceError: the device does not exist.
    """
    sizes = sorted(set(batch_sizes))
    for name, value, least in (
        ("batch_sizes", min(sizes, default=0), 1),
        ("repeats", repeats, 1),
    ):
        if value < least:
            raise ConfigError(f"{name} is or has {value}; give whole numbers from {least} up")
    if not seconds > 0:
        raise ConfigError(f"seconds is {seconds}; a pass must last longer than 0 s")
    if not hasattr(model, "input_shape"):
        raise ConfigError(
            f"model is a {type(model).__name__} without input_shape; set it to (C, H, W)"
        )
    place = resolve_device(device)
    return _measurements(model.to(place), place, sizes, loss, repeats, seconds, patience)


def crossover(cpu: Sequence[Measurement], other: Sequence[Measurement], what: str) -> int | None:
    """Return the batch size from which on another device is faster than the CPU, None if never.

    Args:
        cpu: measurements on the CPU.
        other: those on the other device; only sizes that both have are compared.
        what: "training" or "inference".

    Example:
        >>> def at(size, speed):
        ...     each = Spread(n=1, median=speed, lowest=speed, highest=speed)
        ...     return Measurement(batch_size=size, training=each)
        >>> crossover([at(1, 50), at(4, 60)], [at(1, 20), at(4, 80)], "training")
        4
    """
    first = None
    for size, gain in reversed(_common(cpu, other, what)):
        if gain <= 1:
            break
        first = size
    return first


def advice(cpu: Sequence[Measurement], other: Sequence[Measurement], what: str) -> str:
    """Say in words which device to use for "training" or "inference"; see `crossover`."""
    measured = [size for size, _ in _common(cpu, other, what)]
    if not measured:
        return "no batch size was measured on both devices"
    first = crossover(cpu, other, what)
    if first is None:
        return f"use the CPU, up to batch {measured[-1]} at least"
    if first == measured[0]:
        return "use the GPU at every batch size measured"
    return f"below batch {first} use the CPU"


def net_and_loss(name: str) -> tuple[nn.Module, str]:
    """Return a fresh net by its name, and the loss that its recipes train it with.

    Raises:
        ConfigError: no net has this name.
    """
    recipes = list_recipes(name, name="quick")
    return create_model(name), recipes[0].loss if recipes else "cross_entropy"


def spread(values: Sequence[float]) -> Spread:
    """Return the median of some repeats with the lowest and highest."""
    return Spread(
        n=len(values), median=statistics.median(values), lowest=min(values), highest=max(values)
    )


def machine() -> dict[str, str | int | None]:
    """Return what kind of machine this is; nothing that names it."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def versions() -> dict[str, str | None]:
    """Return the versions that speed depends on."""
    from . import __version__

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "classicnets": __version__,
    }


def resident_bytes(field: str) -> int | None:
    """Return the process's bytes in memory, now (VmRSS) or at most (VmHWM); None if not told."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
    return None


def _common(
    cpu: Sequence[Measurement], other: Sequence[Measurement], what: str
) -> list[tuple[int, float]]:
    """The batch sizes measured on both devices, and how much faster the other one is."""
    mine, theirs = (
        {m.batch_size: found.median for m in side if (found := getattr(m, what)) is not None}
        for side in (cpu, other)
    )
    return [(size, theirs[size] / mine[size]) for size in sorted(mine.keys() & theirs.keys())]


def _measurements(
    model: nn.Module,
    place: torch.device,
    sizes: list[int],
    loss: str | None,
    repeats: int,
    seconds: float,
    patience: float,
) -> Iterator[Measurement]:
    done: list[Measurement] = []
    reason, before = "", resident_bytes("VmRSS") or 0
    for size in sizes:
        reason = reason or _reason_to_skip(done, size, patience, _memory(place))
        found = Measurement(batch_size=size, skipped=reason)
        if not reason:
            try:
                found = _measured(model, place, size, loss, repeats, seconds, before)
            except (OutOfMemoryError, torch.OutOfMemoryError):
                reason = f"{size} do not fit in memory"
                found = Measurement(batch_size=size, skipped=reason)
        done.append(found)
        yield found


def _measured(
    model: nn.Module,
    place: torch.device,
    size: int,
    loss: str | None,
    repeats: int,
    seconds: float,
    before: int,
) -> Measurement:
    _forget_peak(place)

    def train(count: int, epochs: int) -> tuple[TensorLoader, list[float]]:
        """Train on so many batches; return their loader and the seconds of epochs after one."""
        loader = _noise(model, place, size, count)
        with warnings.catch_warnings():  # noise cannot be learnt, of which fit warns
            warnings.filterwarnings("ignore", "the loss stayed within")
            history = fit(model, loader, epochs=epochs, loss=loss, device=place, progress=False)
        return loader, [record.seconds for record in history.epochs[1:]]

    count = 5 if place.type == "cuda" else 2  # a step is captured in an epoch that is not timed
    most = max(_EPOCH_IMAGES // size, count)
    while count < most:
        _, (taken,) = train(count, epochs=2)
        if taken > 0.3 * seconds:
            break
        count = min(most, round(count * min(seconds / max(taken, 1e-6), 50)) + 1)
    loader, trained = train(count, epochs=repeats + 1)
    peak = _peak(place, before)
    answered = _clock(lambda: evaluate(model, loader, loss=loss), place, repeats)
    read = _clock(lambda: _read(loader), place, repeats)
    images = loader.num_images
    return Measurement(
        batch_size=size,
        training=spread([images / each for each in trained]),
        inference=spread([images / each for each in answered]),
        data=spread([images / each for each in read]),
        peak_bytes=peak,
    )


def _noise(model: nn.Module, place: torch.device, size: int, count: int) -> TensorLoader:
    """A loader of `count` batches, each of other random pictures, in a new order each epoch."""
    shape: tuple[int, int, int] = model.input_shape  # type: ignore[assignment]
    classes = getattr(model, "options", {}).get("num_classes", 10)
    return TensorLoader(
        torch.randint(0, 256, (size * count, *shape), dtype=torch.uint8, device=place),
        torch.randint(0, classes, (size * count,)),
        classes=[str(number) for number in range(classes)],
        preparation=Preparation(shape[1], shape[0]),
        batch_size=size,
        shuffle=True,
        name="noise",
    )


def _clock(call: Callable[[], object], place: torch.device, repeats: int) -> list[float]:
    """Seconds of each of some calls after a first that warms up, the device's work included."""
    taken = []
    module = torch.get_device_module(place)
    wait = partial(module.synchronize, place) if place.type == "cuda" else module.synchronize
    for _ in range(repeats + 1):
        wait()
        begun = time.perf_counter()
        call()
        wait()
        taken.append(time.perf_counter() - begun)
    return taken[1:]


def _read(loader: TensorLoader) -> None:
    for _ in loader:
        pass


def _reason_to_skip(done: list[Measurement], size: int, patience: float, memory: int | None) -> str:
    """Say why a size should not be tried, from what smaller ones took; empty if it may."""
    last = done[-1] if done else Measurement(batch_size=0)
    if last.training is None or last.inference is None:
        return ""
    more = size - last.batch_size
    # a step of training is about three of inference: forward, and backward to inputs and weights
    step = last.batch_size / last.training.median + 3 * more / last.inference.median
    if step > patience:
        return f"a step of {size} would take about {step:.0f} s"
    if len(done) > 1 and memory and last.peak_bytes and done[-2].peak_bytes:
        growth = (last.peak_bytes - done[-2].peak_bytes) * more
        wanted = last.peak_bytes + growth / (last.batch_size - done[-2].batch_size)
        if wanted > 0.8 * memory:
            return f"{size} would need about {wanted / 1e9:.0f} GB of memory"
    return ""


def _memory(place: torch.device) -> int | None:
    """Bytes of memory that a device has, None where the system does not tell."""
    if place.type == "cuda":
        return torch.cuda.get_device_properties(place).total_memory
    known = []
    with suppress(OSError, ValueError, AttributeError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):  # the limit of a container, "max" if none
        known.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(known, default=None)


def _forget_peak(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(place)
    else:
        with suppress(OSError):  # proc(5): 5 resets the peak of the resident set
            Path("/proc/self/clear_refs").write_text("5")


def _peak(place: torch.device, before: int) -> int | None:
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place)
    peak = resident_bytes("VmHWM")
    return None if peak is None else peak - before


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.machine()
