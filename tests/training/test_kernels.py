"""The kernels that stand for torch's: here on the CPU, where nothing else would take them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from classicnets import AlexNet, LeNet1, LeNet5, SequentialCNN
from classicnets.training import kernels
from classicnets.training.kernels import Kernels

cuda = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
)
DEVICES = ["cpu", cuda]


@pytest.fixture(autouse=True)
def on_a_cpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_is_on_gpu", lambda x: True)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions of torch for which others stood, as they are called."""
    names: list[str] = []

    def watched(name: str, other: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = other(*args, **kwargs)
            if result is not NotImplemented:
                names.append(name)
            return result

        return call

    others = {func: watched(func.__name__, other) for func, other in kernels._OTHERS.items()}
    monkeypatch.setattr(kernels, "_OTHERS", others)
    return names


@pytest.fixture
def exact() -> Iterator[None]:
    """No rounding to TF32 in cuDNN's convolutions, for comparisons."""
    former = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = former


def gradients(call: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The result of a call and the gradients of its inputs, in a random direction."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    result = call(*leaves)
    direction = torch.randn(result.shape, generator=torch.Generator().manual_seed(1))
    result.backward(direction.to(result.device))  # type: ignore[no-untyped-call]
    return [result.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def assert_same(call: Callable[..., Tensor], *inputs: Tensor) -> None:
    plain = gradients(call, *inputs)
    with Kernels():
        ours = gradients(call, *inputs)
    assert len(plain) == len(ours) == 1 + len(inputs)
    for a, b in zip(plain, ours, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((4, 1, 32, 32), (6, 1, 5, 5), {}),
        ((4, 6, 14, 14), (16, 6, 5, 5), {}),
        ((2, 3, 9, 11), (4, 3, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
        ((2, 3, 9, 9), (4, 3, 3, 3), {"padding": 1}),
        ((1, 2, 5, 5), (1, 2, 5, 5), {}),
        ((3, 1, 224, 224), (2, 1, 11, 11), {"stride": 4}),  # more columns than are made
    ],
)
def test_convolutions(
    taken: list[str], device: str, shape: Any, kernel: Any, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(shape, device=device), torch.randn(kernel, device=device) / 5
    bias = torch.randn(kernel[0], device=device)
    assert_same(lambda x, w, b: F.conv2d(x, w, b, **options), x, weight, bias)
    assert taken == ["conv2d"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "inputs", "outputs"), [(1, 1, 1), (64, 120, 84), (3, 400, 120)])
def test_linear_layers(taken: list[str], device: str, n: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    sizes = (n, inputs), (outputs, inputs), (outputs,)
    assert_same(F.linear, *(torch.randn(size, device=device) for size in sizes))
    assert taken == ["linear"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("shape", "size"), [((2, 6, 28, 28), 2), ((1, 1, 6, 8), (3, 2))])
def test_average_pools(taken: list[str], device: str, shape: Any, size: Any) -> None:
    assert_same(lambda x: F.avg_pool2d(x, size), torch.randn(shape, device=device))
    assert taken == ["avg_pool2d"]


def in_bfloat16(call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return call(*args, **kwargs)


class Own(Tensor):
    """A subclass, whose makers expect torch's functions."""


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.conv2d(x, torch.ones(2, 1, 3, 3), torch.ones(2), dilation=2),
        lambda x: F.conv2d(x, torch.ones(2, 1, 3, 3)),
        lambda x: F.conv2d(x, torch.ones(2, 1, 3, 3), torch.ones(2), padding="same"),
        lambda x: F.conv2d(x[0], torch.ones(2, 1, 3, 3), torch.ones(2)),
        lambda x: F.conv2d(x.repeat(1, 2, 1, 1), torch.ones(2, 1, 3, 3), torch.ones(2), groups=2),
        lambda x: F.conv2d(x.double(), torch.ones(2, 1, 3, 3).double(), torch.ones(2).double()),
        lambda x: F.conv2d(x[:0], torch.ones(2, 1, 3, 3), torch.ones(2)),
        lambda x: F.conv2d(x.as_subclass(Own), torch.ones(2, 1, 3, 3), torch.ones(2)),
        lambda x: in_bfloat16(F.conv2d, x, torch.ones(2, 1, 3, 3), torch.ones(2)),
        lambda x: in_bfloat16(  # weights in the usual order, whose result has that order too
            F.conv2d, x.repeat(1, 2, 1, 1), torch.ones(2, 2, 4, 4), torch.ones(2), stride=4
        ),
        lambda x: in_bfloat16(  # and those that are in both
            F.conv2d, x, channels_last(torch.ones(2, 1, 4, 4)), torch.ones(2), stride=4
        ),
        lambda x: in_bfloat16(
            F.conv2d, x[:0].repeat(1, 2, 1, 1), channels_last(torch.ones(2, 2, 4, 4)), stride=4
        ),
        lambda x: F.linear(x.flatten(1), torch.ones(2, 81)),
        lambda x: F.linear(x.flatten(1), torch.ones(2, 81), torch.ones(1, 2)),
        lambda x: F.linear(x, torch.ones(2, 9), torch.ones(2)),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, 2),
        lambda x: F.avg_pool2d(x, 3, padding=1),
        lambda x: F.avg_pool2d(x, 3, divisor_override=2),
        lambda x: F.avg_pool2d(x[0], 3),
    ],
)
def test_what_has_no_faster_way_is_torchs(taken: list[str], call: Callable[..., Tensor]) -> None:
    x = torch.randn(2, 1, 9, 9)
    with Kernels():
        ours = call(x)
    assert torch.equal(ours, call(x))
    assert not taken


def test_the_gradients_have_gradients() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3)
    ).double()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    with Kernels():
        assert torch.autograd.gradcheck(net, x)
        assert torch.autograd.gradgradcheck(net, x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w, b: F.conv2d(input=x, weight=w, bias=b),
        lambda x, w, b: F.linear(input=x.flatten(1)[:, :9], weight=w.flatten(1), bias=b),
        lambda x, w, b: F.avg_pool2d(input=x, kernel_size=np.int64(2), stride=(np.int64(2),) * 2),
    ],
)
def test_the_words_of_torch_are_understood(taken: list[str], call: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 1, 8, 8), torch.randn(3, 1, 3, 3), torch.randn(3)
    with Kernels():
        ours = call(*inputs)
    assert len(taken) == 1
    torch.testing.assert_close(ours, call(*inputs))


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3))


def per_image_gradients(net: nn.Module, x: Tensor) -> Any:
    weights = dict(net.named_parameters())

    def loss(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(net, weights, image[None]).square().sum()
        return result

    return torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)


def jacobian(net: nn.Module, x: Tensor) -> Any:
    return torch.autograd.functional.jacobian(net, x, vectorize=True)  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own
@pytest.mark.parametrize(
    ("derive", "by_torch"),
    [
        (per_image_gradients, True),
        (lambda net, x: torch.func.jvp(net, (x,), (x,)), True),
        (lambda net, x: torch.func.hessian(lambda x: net(x).square().sum())(x), True),
        (lambda net, x: checkpoint(net, x, use_reentrant=False).sum().backward(), True),
        (jacobian, False),
    ],
)
def test_other_derivatives_are_the_same(
    taken: list[str], derive: Callable[..., Any], by_torch: bool
) -> None:
    net, x = small_net(), torch.randn(4, 1, 8, 8, requires_grad=True)
    plain = derive(net, x)
    with Kernels():
        ours = derive(net, x)
    assert bool(taken) is not by_torch
    torch.testing.assert_close(ours, plain)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # likewise
def test_a_compiled_net_takes_them(taken: list[str]) -> None:
    net, x = small_net(), torch.randn(4, 1, 8, 8)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with Kernels():
        ours = compiled(x)
    assert sorted(taken) == ["avg_pool2d", "conv2d", "linear"]
    torch.testing.assert_close(ours, net(x))


def test_an_update_given_in_another_form_is_torchs(taken: list[str]) -> None:
    def updated(give: Callable[..., Any]) -> Tensor:
        parameter, gradient = torch.ones(3), torch.ones(3)
        settings = {"momentum": 0.0, "lr": 0.1, "dampening": 0.0, "weight_decay": 0.0}
        more = {"nesterov": False, "maximize": False, "is_first_step": True}
        give([parameter], gradient, {**settings, **more})
        return parameter

    with Kernels():
        by_tuple = updated(lambda p, g, s: torch._fused_sgd_(p, (g,), [], **s))
        by_name = updated(
            lambda p, g, s: torch._fused_sgd_(p, grads=[g], momentum_buffer_list=[], **s)
        )
    assert not taken
    assert by_tuple.tolist() == by_name.tolist() == pytest.approx([0.9] * 3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p, lr: torch.optim.SGD(p, lr, fused=True),
        lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=0.1, fused=True),
        lambda p, lr: torch.optim.Adam(p, lr, fused=True),
        lambda p, lr: torch.optim.Adam(p, lr, amsgrad=True, fused=True),
        lambda p, lr: torch.optim.AdamW(p, lr, fused=True),
    ],
)
def test_optimizers_in_pieces_give_the_same(
    taken: list[str], device: str, optimizer: Callable[..., torch.optim.Optimizer]
) -> None:
    def updated(mode: Any) -> list[Tensor]:
        torch.manual_seed(0)
        shapes = [(), (1,), (7,), (3, 5), (120, 400), (2, 2049)]
        parameters = [nn.Parameter(torch.randn(shape, device=device)) for shape in shapes]
        chosen = optimizer(parameters, 0.1)
        for _ in range(3):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            with mode:
                chosen.step()
        return [
            *parameters,
            *(v for state in chosen.state.values() for v in state.values() if v is not None),
        ]

    plain = updated(torch.no_grad())
    assert not taken
    for a, b in zip(plain, updated(Kernels()), strict=True):
        if device == "cuda":
            assert torch.equal(a, b)
        else:  # where the last values of a piece, fewer than a vector, are rounded otherwise
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert len(taken) == 3


@pytest.mark.parametrize(
    "net", [LeNet1(), LeNet5(), SequentialCNN()], ids=lambda net: type(net).__name__
)
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("device", DEVICES)
def test_a_net_learns_the_same(taken: list[str], device: str, net: nn.Module) -> None:
    start = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(0)
    images = torch.randn(8, *net.input_shape, device=device)  # type: ignore[misc]
    labels = torch.arange(8, device=device)

    def learnt(mode: Any) -> Tensor:
        net.to(device).load_state_dict(start)
        optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            with mode, torch.random.fork_rng(), torch.enable_grad():
                torch.manual_seed(0)
                F.cross_entropy(net(images), labels).backward()
                optimizer.step()
        return torch.nn.utils.parameters_to_vector(net.parameters()).detach()

    plain = learnt(torch.no_grad())
    assert not taken
    torch.testing.assert_close(learnt(Kernels()), plain, rtol=1e-4, atol=1e-5)
    assert {"conv2d", "linear"} < set(taken)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(224, 11, 4, 2), (227, 11, 4, 0), (32, 7, 2, 3), (17, 3, 2, (1, 0)), (20, 2, 3, 0)],
)
def test_a_first_convolution_is_folded(
    taken: list[str], device: str, size: int, kernel: int, stride: int, padding: Any
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, size, size + 1, device=device)
    weight, bias = torch.randn(8, 3, kernel, kernel, device=device), torch.randn(8, device=device)
    weight = channels_last(weight)

    def call(weight: Tensor, bias: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return F.conv2d(x, weight, bias, stride=stride, padding=padding)

    plain = gradients(call, weight, bias)
    with Kernels():
        ours = gradients(call, weight, bias)
    assert taken == ["conv2d"]
    for a, b in zip(plain, ours, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert (a - b).norm() <= 0.01 * a.norm()


def test_alexnet_folds_its_first_convolution_alone(taken: list[str]) -> None:
    net = AlexNet(2, hidden=(64, 64)).eval().to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        plain = net(images)
        with Kernels():
            ours = net(images)
    assert taken == ["conv2d"]
    torch.testing.assert_close(ours, plain, rtol=0.02, atol=0.02)
