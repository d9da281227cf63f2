import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from classicnets import LeNet5
from classicnets.layers import ScaledTanh
from classicnets.squashing import _WORTH_A_CALL, Tanh, tanh

LARGE = (2, 4, 64, 129)


def values(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many values each call of numpy's tanh was given."""
    counted: list[int] = []
    real = np.tanh

    def counting(x: np.ndarray, **options: np.ndarray) -> np.ndarray:
        counted.append(x.size)
        return real(x, **options)

    monkeypatch.setattr(np, "tanh", counting)
    return counted


def test_every_value_is_within_two_roundings_of_the_true_one(calls: list[int]) -> None:
    small = torch.logspace(-44, 0, 20_000)
    x = torch.cat((torch.linspace(-12, 12, 60_001), small, -small))
    expected = torch.tanh(x.double()).float()
    off = (tanh(x).view(torch.int32) - expected.view(torch.int32)).abs()
    assert calls == [100_001]
    assert off.max() <= 2


def test_what_is_not_a_number_stays_so(calls: list[int]) -> None:
    x = torch.zeros(_WORTH_A_CALL)
    x[:3] = torch.tensor([math.nan, math.inf, -math.inf])
    y = tanh(x)
    assert calls == [_WORTH_A_CALL]
    assert y[:4].tolist()[1:] == [1, -1, 0]
    assert y[0].isnan()


def test_the_layers_of_the_nets_take_the_fast_way(calls: list[int]) -> None:
    LeNet5()(torch.zeros(64, 1, 32, 32))
    assert calls == [64 * 6 * 28 * 28, 64 * 16 * 10 * 10]
    ScaledTanh()(values(*LARGE))
    assert calls[2:] == [values(*LARGE).numel()]


@pytest.mark.parametrize(
    "order", [torch.contiguous_format, torch.channels_last], ids=["usual", "channels last"]
)
def test_a_large_tensor_keeps_its_order_and_has_torchs_gradients(
    calls: list[int], order: torch.memory_format
) -> None:
    x = values(*LARGE).contiguous(memory_format=order).requires_grad_()
    y = tanh(x)
    assert calls == [x.numel()]
    assert y.stride() == x.stride()
    ours = torch.autograd.grad(y.square().sum(), x)[0]
    theirs = torch.autograd.grad(torch.tanh(x).square().sum(), x)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_second_derivatives_are_torchs(calls: list[int]) -> None:
    x = values(*LARGE).requires_grad_()
    second = []
    for function in (tanh, torch.tanh):
        (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
        second.append(torch.autograd.grad(first.sum(), x)[0])
    assert calls == [x.numel()]
    torch.testing.assert_close(*second, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's jvp uses it
@pytest.mark.parametrize(
    "transform",
    [
        torch.func.vmap,
        lambda f: torch.func.vmap(torch.func.grad(lambda x: f(x).sum())),
        lambda f: lambda x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
        lambda f: torch.func.grad(lambda x: f(x).square().sum()),
    ],
    ids=["vmap", "vmap of grad", "jvp", "grad"],
)
def test_the_transforms_of_torch_func_get_torchs_own(calls: list[int], transform: object) -> None:
    x = values(*LARGE)
    ours, theirs = (transform(function)(x) for function in (tanh, torch.tanh))  # type: ignore[operator]
    assert calls == []
    assert torch.equal(ours, theirs)


def test_a_tensor_from_outside_a_transform_gets_torchs_own_inside_it() -> None:
    features = values(*LARGE)
    weight = torch.ones(())
    slope = torch.func.grad(lambda w: (w * tanh(features)).sum())(weight)
    torch.testing.assert_close(slope, torch.tanh(features).sum())


def test_errors_of_numpy_that_a_user_asks_for_are_not_those_of_tanh(calls: list[int]) -> None:
    with np.errstate(all="raise"):
        assert tanh(torch.full(LARGE, 1e-44)).max() > 0
    assert calls


def test_a_recorded_graph_has_torchs_own(calls: list[int]) -> None:
    graph = make_fx(tanh)(values(*LARGE))
    assert calls == []
    x = values(*LARGE, seed=1)
    assert torch.equal(graph(x), torch.tanh(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_forward_derivatives_are_torchs(calls: list[int]) -> None:
    x = values(*LARGE)
    found = []
    for function in (tanh, torch.tanh):
        with forward_ad.dual_level():
            y = function(forward_ad.make_dual(x, torch.ones_like(x)))
            found.append(forward_ad.unpack_dual(y).tangent)
    assert calls == [x.numel()]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.double(),
        lambda x: x.bfloat16(),
        lambda x: x.flatten()[: _WORTH_A_CALL - 1],
        lambda x: x[..., :-1],
        lambda x: x[:0],
        lambda x: x.to("meta"),
    ],
    ids=["double", "bfloat16", "small", "a part", "empty", "meta"],
)
def test_other_tensors_get_torchs_own(calls: list[int], change: object) -> None:
    x = change(values(*LARGE))  # type: ignore[operator]
    result, expected = tanh(x), torch.tanh(x)
    assert calls == []
    assert result.shape == expected.shape
    assert x.device.type == "meta" or torch.equal(result, expected)


def test_with_many_threads_torch_computes_it(
    calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    x = values(*LARGE)
    assert torch.equal(tanh(x), torch.tanh(x))
    assert calls == []


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch says that trace is old
def test_an_exported_or_traced_net_has_torchs_own(calls: list[int]) -> None:
    x = values(*LARGE)
    exported = torch.export.export(nn.Sequential(ScaledTanh(), Tanh()), (x,))
    targets = [str(node.target) for node in exported.graph.nodes]
    assert targets.count("aten.tanh.default") == 2, targets
    traced = torch.jit.trace(Tanh(), x, check_trace=False)
    assert "aten::tanh" in str(traced.graph)
    assert calls == []


def test_a_copied_layer_is_one_of_torchs_and_computes_the_same() -> None:
    layer = copy.deepcopy(Tanh())
    assert isinstance(layer, nn.Tanh)
    assert torch.equal(layer(values(*LARGE)), tanh(values(*LARGE)))
