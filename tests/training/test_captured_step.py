"""Steps captured as a CUDA graph; all but the rule itself need a GPU."""

import warnings
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from classicnets import LeNet5, fit
from classicnets.data import TensorLoader
from classicnets.preparation import Preparation
from classicnets.training import captured_step
from classicnets.training.captured_step import CapturedStep, reason_not_to_capture
from classicnets.training.step import Step

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def digits_of_noise(count: int) -> TensorLoader:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 10
    images = torch.randint(0, 60, (count, 1, 32, 32), dtype=torch.uint8, generator=generator)
    for row in range(3):  # of three bright ones that tell the class, and are learnt at once
        images[torch.arange(count), 0, 3 * labels + row] = 255
    return TensorLoader(
        images,
        labels,
        classes=[str(number) for number in range(10)],
        preparation=Preparation(32),
        batch_size=32,
        shuffle=True,
    )


def trained(count: int = 330, **options: Any) -> Tensor:
    torch.manual_seed(0)
    model = LeNet5()
    fit(model, digits_of_noise(count), epochs=2, device="cuda", progress=False, **options)
    return torch.nn.utils.parameters_to_vector(model.parameters()).cpu()


@needs_cuda
@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.001), ("adamw", 0.001), ("sgd", 0.1)])
@pytest.mark.parametrize("schedule", [None, "onecycle"])
def test_captured_steps_learn_what_eager_ones_do(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, lr: float, schedule: str | None
) -> None:
    options = {"optimizer": optimizer, "lr": lr, "schedule": schedule}
    captured = trained(**options)
    monkeypatch.setattr(Step, "capture", lambda step: None)
    torch.testing.assert_close(captured, trained(**options), rtol=1e-3, atol=1e-4)


@needs_cuda
def test_captured_steps_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(1), replay(graph))
    )
    trained(count=330)  # 11 batches an epoch, the last one short
    assert len(replays) == 2 * 10 - CapturedStep.EAGER_STEPS


@needs_cuda
def test_two_captured_runs_are_equal_to_the_bit() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(trained(), trained())
    finally:
        torch.use_deterministic_algorithms(False)


@needs_cuda
def test_a_step_that_cannot_be_captured_runs_eagerly_and_says_why() -> None:
    class Waits(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x.flatten(1))
            y.sum().item()
            return y

    net = nn.Sequential(Waits(1024, 10), nn.Dropout(0.1))  # which draws after the failure as before
    with pytest.warns(UserWarning, match="the step cannot be captured"):
        history = fit(net, digits_of_noise(330), epochs=2, device="cuda", progress=False)
    assert len(history.step_losses) == 22


def adam(**options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(nn.Linear(1, 1).parameters(), **options)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"compiled_before": True}, "the net was compiled before"),
        ({"precision": "fp16"}, "gradient scaler of fp16"),
        ({"accumulate": 4}, "accumulate=4"),
        ({}, "this Adam keeps its learning rate on the CPU"),
    ],
)
def test_what_keeps_a_step_from_being_captured_is_named(
    change: dict[str, Any], reason: str
) -> None:
    settings = {"precision": "float32", "accumulate": 1, "compiled_before": False}
    assert reason in str(reason_not_to_capture(nn.Identity(), adam(), **{**settings, **change}))


def test_eager_steps_are_told_once_in_a_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        captured_step.warn_eager("a reason")
    assert [str(w.message) for w in caught] == [
        "fit runs its steps eagerly, which is slower: a reason"
    ]


class Graph:
    """A stand-in for a CUDA graph that counts its replays."""

    made = 0
    replays = 0

    def __init__(self) -> None:
        Graph.made += 1

    def replay(self) -> None:
        Graph.replays += 1


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        pass


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capturing without a GPU: who is called when can be seen all the same."""
    monkeypatch.setattr(Graph, "made", 0)
    monkeypatch.setattr(Graph, "replays", 0)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(captured_step, "_side_stream", lambda device, thread: Stream())
    monkeypatch.setattr(captured_step, "_leave_capture", lambda device: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **options: nullcontext())
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: None)


def step_of(
    forget: Any = lambda: None, fails: bool = False, net: nn.Module | None = None
) -> tuple[CapturedStep, Any, list[int]]:
    """A captured step, its optimizer, and a list that grows with each eager step's batch."""
    optimizer, eager = adam(), []
    net = nn.Identity() if net is None else net

    def learn(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        eager.append(len(images))
        net(images)
        if fails and Graph.made:
            raise RuntimeError("the cause")
        return torch.zeros(()), torch.zeros(len(images), 10)

    return CapturedStep(learn, net, optimizer, forget, torch.device("cpu")), optimizer, eager


def batch(count: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(count, 1, 8, 8), torch.zeros(count, dtype=torch.int64)


@pytest.mark.usefixtures("no_gpu")
def test_a_shape_is_captured_after_three_steps_wherever_short_batches_fall() -> None:
    step, _, eager = step_of()
    for _ in range(3):  # epochs of two whole batches and a short one
        for count in (4, 4, 1):
            step(*batch(count))
    assert Graph.made == 1
    assert eager == [4, 4, 1, 4, 4, 1, 1]  # the last 4 of them while it was captured
    assert Graph.replays == 3


@pytest.mark.usefixtures("no_gpu")
def test_all_steps_have_the_same_kernels_also_after_giving_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered: list[bool] = []
    monkeypatch.setattr(captured_step.Kernels, "__enter__", lambda mode: entered.append(True))
    monkeypatch.setattr(captured_step.Kernels, "__exit__", lambda mode, *raised: None)
    step, optimizer, eager = step_of()
    for _ in range(5):
        step(*batch(4))
    step(*batch(3))
    optimizer.param_groups[0]["betas"] = 0.8, 0.99
    with pytest.warns(UserWarning, match="'betas' of the optimizer has changed"):
        step(*batch(4))
    step(*batch(4))
    assert len(entered) == len(eager) == 7


@pytest.mark.usefixtures("no_gpu")
def test_batches_of_other_shapes_in_a_row_are_told_once() -> None:
    step, _, eager = step_of()
    for _ in range(5):
        step(*batch(4))
    step(*batch(3))
    with pytest.warns(UserWarning, match=r"other shapes than \(4, 1, 8, 8\) come in a row"):
        step(*batch(2))
    step(*batch(1))
    assert eager[-3:] == [3, 2, 1]


@pytest.mark.usefixtures("no_gpu")
def test_batches_of_ever_other_shapes_are_told_once() -> None:
    step, _, eager = step_of()
    for count in range(1, 30):
        step(*batch(count))
    with pytest.warns(UserWarning, match="of 30 batches no 4 have the same shape"):
        step(*batch(30))
    step(*batch(31))
    assert len(eager) == 31


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(("name", "value"), [("betas", (0.8, 0.99)), ("lr", torch.tensor(0.1))])
def test_a_graph_is_left_when_the_optimizer_is_told_something_else(name: str, value: Any) -> None:
    step, optimizer, eager = step_of()
    for _ in range(5):
        step(*batch(4))
    assert Graph.replays == 2
    optimizer.param_groups[0][name] = value
    with pytest.warns(UserWarning, match=f"{name!r} of the optimizer has changed"):
        step(*batch(4))
    step(*batch(4))
    assert (Graph.replays, len(eager)) == (2, 6)


@pytest.mark.usefixtures("no_gpu")
def test_a_graph_is_left_when_the_optimizer_gets_more_to_train() -> None:
    step, optimizer, _ = step_of()
    for _ in range(5):
        step(*batch(4))
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    with pytest.warns(UserWarning, match="'param_groups' of the optimizer has changed"):
        step(*batch(4))


@pytest.mark.usefixtures("no_gpu")
def test_a_graph_is_left_when_a_parameter_is_frozen() -> None:
    step, optimizer, _ = step_of()
    for _ in range(5):
        step(*batch(4))
    optimizer.param_groups[0]["params"][0].requires_grad_(False)
    with pytest.warns(UserWarning, match="'params' of the optimizer has changed"):
        step(*batch(4))


class Counts(nn.Module):
    """A net with a state that its forward replaces, as batch normalisation by hand does."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.plain, self.steps, self._name = torch.zeros(1), 0, name

    def forward(self, x: Tensor) -> Tensor:
        setattr(self, self._name, getattr(self, self._name) + 1)
        return x


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["mean", "plain", "steps"])
def test_a_net_whose_state_is_replaced_is_not_captured_and_loses_nothing(
    name: str,
) -> None:
    net = Counts(name)
    step, _, eager = step_of(net=net)
    for _ in range(3):
        step(*batch(4))
    with pytest.warns(UserWarning, match=f"the net's forward gives '{name}' another value"):
        step(*batch(4))
    for _ in range(2):
        step(*batch(4))
    assert Graph.replays == 0
    assert len(eager) == 7  # one of them while it was captured, which computes nothing
    assert float(getattr(net, name)) == 6


class Keeps(nn.Module):
    """A net that keeps its maps for whoever wants to look at them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)
        self.maps = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.maps = self.layer(x)
        return self.maps


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("net", [nn.BatchNorm2d(1), Keeps()], ids=["in place", "derived"])
def test_what_a_graph_renews_is_captured(net: nn.Module) -> None:
    step, _, _ = step_of(net=net)
    for _ in range(6):
        step(*batch(4))
    assert Graph.replays == 3


@pytest.mark.parametrize("where", ["forward", "pre", "backward", "weight"])
def test_hooks_keep_a_net_from_being_captured_but_for_those_of_torch(where: str) -> None:
    net = nn.Sequential(torch.nn.utils.spectral_norm(nn.Linear(2, 2)), nn.Linear(2, 1))
    settings: dict[str, Any] = {"precision": "float32", "accumulate": 1, "compiled_before": False}
    assert "hooks" not in str(reason_not_to_capture(net, adam(), **settings))
    hook: Any = lambda *_: None  # noqa: E731
    {
        "forward": net[1].register_forward_hook,
        "pre": net[1].register_forward_pre_hook,
        "backward": net[1].register_full_backward_hook,
        "weight": net[1].weight.register_hook,
    }[where](hook)
    named = "'1.weight'" if where == "weight" else "'1'"
    assert f"{named} has hooks" in str(reason_not_to_capture(net, adam(), **settings))


@pytest.mark.usefixtures("no_gpu")
def test_what_a_failed_capture_left_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    class Capturing(nullcontext[None]):
        def __exit__(self, *raised: object) -> None:
            raise RuntimeError("capturing is over")

    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **options: Capturing())
    forgotten: list[bool] = []
    step, _, _ = step_of(lambda: forgotten.append(True), fails=True)
    for _ in range(3):
        step(*batch(4))
    with (
        pytest.warns(UserWarning, match="cannot be captured .the cause."),
        pytest.raises(RuntimeError),  # of the eager step, which fails here as well
    ):
        step(*batch(4))
    assert forgotten == [True]
    assert Graph.replays == 0
