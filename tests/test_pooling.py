import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from classicnets import pooling

PAIRS = [(pooling.AvgPool2d, nn.AvgPool2d), (pooling.MaxPool2d, nn.MaxPool2d)]


def a_map(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*(st.integers(1, n) for n in (3, 4, 12, 12))),
    kernel_size=st.integers(1, 3),
    stride=st.integers(1, 3),
)
def test_pooling_is_torchs_within_rounding(
    ours: type, torchs: type, seed: int, shape: tuple[int, ...], kernel_size: int, stride: int
) -> None:
    height, width = (max(side, kernel_size) for side in shape[2:])
    x = a_map(seed, *shape[:2], height, width)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(kernel_size, stride)(x), torchs(kernel_size, stride)(x), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_the_gradient_is_torchs_within_rounding(ours: type, torchs: type) -> None:
    gradients = []
    for kind in (ours, torchs):
        x = a_map(0, 5, 6, 8, 10).requires_grad_()
        kind(2)(x).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.double(),
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x[..., :-1],
        lambda x: x[0],
        lambda x: x.transpose(2, 3),
        lambda x: x[:0],
    ],
    ids=["double", "channels last", "odd width", "no batch", "transposed", "empty"],
)
def test_other_maps_get_torchs_own_pooling(ours: type, torchs: type, change: object) -> None:
    x = change(a_map(0, 2, 3, 8, 8))  # type: ignore[operator]
    with torch.no_grad():
        torch.testing.assert_close(ours(2)(x), torchs(2)(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_other_windows_get_torchs_own_pooling(ours: type, torchs: type) -> None:
    x = a_map(0, 2, 3, 8, 8)
    with torch.no_grad():
        for options in ({"padding": 1}, {"ceil_mode": True}, {"stride": 1}):
            expected = torchs(2, **options)(x)
            torch.testing.assert_close(ours(2, **options)(x), expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(
            pooling.AvgPool2d(2, divisor_override=3)(x), nn.AvgPool2d(2, divisor_override=3)(x)
        )
        places = pooling.MaxPool2d(2, return_indices=True)(x)[1]
        assert torch.equal(places, nn.MaxPool2d(2, return_indices=True)(x)[1])


def test_means_made_in_inference_mode_serve_training_too() -> None:
    pooling._means.cache_clear()
    with torch.inference_mode():
        pooling.mean_pool(a_map(0, 1, 1, 4, 4))
    x = a_map(0, 1, 1, 4, 4).requires_grad_()
    pooling.mean_pool(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(x, 0.25))


@pytest.mark.parametrize("kind", [pooling.AvgPool2d, pooling.MaxPool2d])
def test_an_exported_net_has_torchs_own_pooling(kind: type) -> None:
    exported = torch.export.export(kind(2).eval(), (a_map(0, 1, 2, 4, 4),))
    targets = {str(node.target) for node in exported.graph.nodes}
    assert any("pool2d" in target for target in targets), targets


@pytest.mark.parametrize("kind", [pooling.AvgPool2d, pooling.MaxPool2d])
def test_pooling_can_be_mapped_over_by_vmap(kind: type) -> None:
    x = a_map(0, 3, 2, 2, 4, 4)
    expected = torch.stack([kind(2)(part) for part in x])
    torch.testing.assert_close(torch.func.vmap(kind(2))(x), expected)
