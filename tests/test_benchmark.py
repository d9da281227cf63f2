"""The measuring behind `classicnets bench`: how it is done, never how fast anything is."""

import itertools
import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from classicnets import benchmark, list_models
from classicnets.benchmark import Measurement, Spread, crossover, machine, measure, versions
from classicnets.errors import ConfigError, DeviceError, OutOfMemoryError


class Tiny(nn.Module):
    """A net of one layer that notes the first pixels of every batch it is given."""

    input_shape = (1, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 10)
        self.seen: list[tuple[bool, bytes]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.flatten(1)
        self.seen.append((self.training, bytes((255 * pixels[0]).round().byte().tolist())))
        return self.linear(pixels)


def quickly(model: nn.Module, **options: object) -> list[Measurement]:
    given = {"batch_sizes": (2, 8), "repeats": 3, "seconds": 0.005, **options}
    return list(measure(model, **given))


def at(size: int, speed: float | None, **fields: object) -> Measurement:
    each = None if speed is None else Spread(n=1, median=speed, lowest=speed, highest=speed)
    return Measurement(batch_size=size, training=each, inference=each, data=each, **fields)


def test_each_size_has_the_median_of_its_repeats_between_their_bounds() -> None:
    found = quickly(Tiny())
    assert [m.batch_size for m in found] == [2, 8]
    for m in found:
        for each in (m.training, m.inference, m.data):
            assert each.n == 3
            assert 0 < each.lowest <= each.median <= each.highest
        assert not m.skipped
    assert json.loads(json.dumps([asdict(m) for m in found]))[0]["training"]["n"] == 3


def test_no_batch_comes_twice_in_a_pass() -> None:
    model = Tiny()
    quickly(model, batch_sizes=[4], repeats=2)
    passes = [
        [first for _, first in group]
        for training, group in itertools.groupby(model.seen, key=lambda each: each[0])
        if not training
    ]
    (answered,) = passes  # one pass that warms up and two that count, of the same batches
    length = len(answered) // 3
    assert length >= 2
    for start in range(0, 3 * length, length):
        one_pass = answered[start : start + length]
        assert len(set(one_pass)) == length


def test_the_device_is_waited_for_around_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fake = SimpleNamespace(synchronize=lambda: events.append("wait"))
    monkeypatch.setattr(torch, "get_device_module", lambda place: fake)
    monkeypatch.setattr("time.perf_counter", lambda: float(events.append("clock") or 0))
    benchmark._clock(lambda: events.append("call"), torch.device("cpu"), repeats=2)
    assert events == 3 * ["wait", "clock", "call", "wait", "clock"]


def test_the_pass_that_warms_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 100.0, 101.0, 101.0, 103.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert benchmark._clock(lambda: None, torch.device("cpu"), repeats=2) == [1.0, 2.0]


def test_a_size_that_does_not_fit_is_skipped_with_all_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = benchmark.fit

    def fit_small(model: nn.Module, loader: benchmark.TensorLoader, **options: object) -> object:
        if loader.batch_size > 2:
            raise OutOfMemoryError("no room")
        return real(model, loader, **options)

    monkeypatch.setattr(benchmark, "fit", fit_small)
    found = quickly(Tiny(), batch_sizes=(2, 4, 8))
    assert [m.skipped for m in found] == ["", *2 * ["4 do not fit in memory"]]
    assert found[1].training is None


def test_a_size_that_would_take_too_long_is_skipped() -> None:
    found = quickly(Tiny(), patience=1e-9)
    assert found[0].training
    assert found[1].skipped == "a step of 8 would take about 0 s"


def test_a_size_that_would_need_too_much_memory_is_skipped() -> None:
    done = [at(1, 10, peak_bytes=10**9), at(2, 10, peak_bytes=2 * 10**9)]
    assert benchmark._reason_to_skip(done, 16, 1e9, memory=8 * 10**9) == (
        "16 would need about 16 GB of memory"
    )
    assert benchmark._reason_to_skip(done, 4, 1e9, memory=8 * 10**9) == ""
    assert benchmark._reason_to_skip(done, 16, 1e9, memory=None) == ""


@pytest.mark.parametrize(
    ("other", "first"),
    [
        ([5, 5, 5], None),
        ([20, 20, 20], 1),
        ([5, 20, 20], 4),
        ([20, 5, 20], 16),  # not from 1 on: there is a size above it at which the CPU wins
        ([5, 20, None], 4),
        ([None, None, None], None),
    ],
)
def test_the_crossover_is_the_size_from_which_the_cpu_never_wins(
    other: list[float | None], first: int | None
) -> None:
    sizes = (1, 4, 16)
    cpu = [at(size, 10) for size in sizes]
    assert crossover(cpu, list(map(at, sizes, other)), "training") == first


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ([5, 5, 5], "use the CPU, up to batch 16 at least"),
        ([20, 20, 20], "use the GPU at every batch size measured"),
        ([5, 20, 20], "below batch 4 use the CPU"),
        ([None, None, None], "no batch size was measured on both devices"),
    ],
)
def test_the_advice_says_where_the_cpu_is_faster(other: list[float | None], words: str) -> None:
    sizes = (1, 4, 16)
    cpu = [at(size, 10) for size in sizes]
    assert benchmark.advice(cpu, list(map(at, sizes, other)), "inference") == words


@pytest.mark.parametrize("name", list_models())
def test_every_net_comes_with_a_loss_that_its_outputs_take(name: str) -> None:
    model, loss = benchmark.net_and_loss(name)
    if model.input_shape[1] > 32:
        assert loss == "cross_entropy"
    else:
        assert quickly(model, batch_sizes=[2], repeats=1, loss=loss)[0].training


def test_machine_and_versions_name_no_host_and_no_path() -> None:
    assert set(machine()) == {"processor", "cores", "threads", "gpu"}
    assert set(versions()) == {"python", "torch", "cuda", "classicnets"}
    assert "/" not in json.dumps([machine(), versions()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sizes": (0, 4)}, "batch_sizes is or has 0; give whole numbers from 1 up"),
        ({"batch_sizes": ()}, "batch_sizes is or has 0; give whole numbers from 1 up"),
        ({"repeats": 0}, "repeats is or has 0; give whole numbers from 1 up"),
        ({"seconds": 0}, "seconds is 0; a pass must last longer than 0 s"),
    ],
)
def test_an_argument_out_of_range_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quickly(Tiny(), **options)


def test_a_model_without_input_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model is a Linear without input_shape; set it"):
        quickly(nn.Linear(2, 2))


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DeviceError, match="device is 'cuda:99'"):
        quickly(Tiny(), device="cuda:99")
