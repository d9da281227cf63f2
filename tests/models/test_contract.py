"""What every net keeps to, whatever its paper."""

import copy
import json
import os
import pickle
import shutil
from collections.abc import Callable

import hypothesis.strategies as st
import onnxruntime
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.feature_extraction import create_feature_extractor

from classicnets import create_model, list_models
from classicnets.errors import ConfigError
from classicnets.models import input_check

# name -> (net, options, smallest and largest side of the image)
NETS = {
    "lenet5": ("lenet5", {}, 32, 35),
    "lenet5-textbook": (
        "lenet5",
        {"activation": "relu", "pooling": "max", "in_channels": 3},
        32,
        35,
    ),
    "lenet5_paper": ("lenet5_paper", {}, 32, 35),
    "sequential_cnn": ("sequential_cnn", {}, 28, 31),
    "lecture_cnn": ("lecture_cnn", {}, 26, 29),
    "lenet_catdog": ("lenet_catdog", {}, 224, 227),
    "alexnet": ("alexnet", {"num_classes": 5, "hidden": (64, 32)}, 63, None),
    "alexnet_paper": ("alexnet_paper", {"num_classes": 5}, 227, 258),
    "alexnet_paper-224": (
        "alexnet_paper",
        {"num_classes": 5, "lrn": "cuda-convnet", "conv1_padding": 2},
        223,
        254,
    ),
    "lenet1": ("lenet1", {}, 28, 31),
    "lenet1989": ("lenet1989", {}, 15, 16),
}
every_net = pytest.mark.parametrize("name", NETS)
# the C++ compiler takes seconds for each net; these three hold all layers but the largest nets'
COMPILED_BY_DEFAULT = ("lenet5", "lenet5_paper", "lenet1989")
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def build(name: str, seed: int = 0) -> nn.Module:
    """The net in eval mode, without the width that some linear layers have: it proves nothing."""
    torch.manual_seed(seed)
    net_name, options, *_ = NETS[name]
    with torch.device("meta"):
        wide = create_model(net_name, **options)
    if sum(p.numel() for p in wide.parameters()) < 5e6:
        return create_model(net_name, **options).eval()
    linear = {n: m for n, m in wide.classifier.named_children() if isinstance(m, nn.Linear)}
    widths = [next(iter(linear.values())).in_features, *[16] * (len(linear) - 1)]
    for (child, layer), width in zip(linear.items(), widths, strict=True):
        out = layer.out_features if child == list(linear)[-1] else 16
        wide.classifier.set_submodule(child, nn.Linear(width, out, device="meta"))
    net = wide.to_empty(device="cpu").eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.02)
    return net


@pytest.fixture(scope="module")
def net_of() -> Callable[[str], nn.Module]:
    """A net of each name, built once; tests that change a net take a copy."""
    built: dict[str, nn.Module] = {}

    def net(name: str) -> nn.Module:
        if name not in built:
            built[name] = build(name)
        return built[name]

    return net


def images_for(net: nn.Module, count: int = 2, size: tuple[int, int] | None = None) -> torch.Tensor:
    channels, *standard = net.input_shape
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, channels, *(size or standard), generator=generator)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal up to a fraction of the largest logit."""
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * scale)


def test_every_net_of_the_library_is_under_this_contract():
    assert {net for net, *_ in NETS.values()} == set(list_models())


# what comes out


@every_net
@settings(max_examples=8, deadline=None)
@given(data=st.data())
@torch.no_grad()
def test_any_legal_batch_gives_one_row_of_logits_per_image(net_of, name, data):
    net = net_of(name)
    *_, smallest, largest = NETS[name]
    side = st.integers(smallest, largest or 260)
    count, size = data.draw(st.integers(1, 3)), (data.draw(side), data.draw(side))
    logits = net(images_for(net, count, size))
    assert logits.shape == (count, net.options.get("num_classes", 10))
    assert logits.isfinite().all()


@every_net
@torch.no_grad()
def test_an_image_gives_the_same_logits_alone_and_in_a_batch(net_of, name):
    net = net_of(name)
    images = images_for(net, 3)
    assert_close(torch.cat([net(image[None]) for image in images]), net(images))


@every_net
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(net_of, name):
    net = copy.deepcopy(net_of(name)).train()
    nn.functional.cross_entropy(net(images_for(net, 4)), torch.arange(4) % 2).backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@every_net
def test_a_seed_decides_the_weights(name):
    first, again, other = (build(name, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


# what goes in


@every_net
def test_published_sizes_are_those_that_the_layers_can_take(monkeypatch, name):
    monkeypatch.setattr(input_check, "check", lambda images, rule: images)
    net_name, options, smallest, largest = NETS[name]
    with torch.device("meta"):
        net = create_model(net_name, **options)

    def runs(side: int) -> bool:
        try:
            net(torch.zeros(1, net.input_shape[0], side, side, device="meta"))
        except RuntimeError:
            return False
        return True

    low, high = 1, net.input_shape[1]  # low fails, high runs
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    assert high == smallest
    if largest is not None:
        assert runs(largest)
        assert not runs(largest + 1)


@every_net
def test_a_wrong_size_is_refused_with_the_formula_before_any_layer_runs(net_of, name):
    net = copy.deepcopy(net_of(name))
    next(net.features.children()).register_forward_pre_hook(lambda *_: pytest.fail("a layer ran"))
    *_, smallest, largest = NETS[name]
    allowed = f"{smallest}x{smallest} or more"
    sizes = [(smallest - 1, smallest), (smallest, smallest - 1), (1, 1)]
    if largest is not None:
        allowed = f"{smallest}x{smallest} to {largest}x{largest}"
        sizes += [(largest + 1, largest), (smallest, largest + 1)]
    for height, width in sizes:
        with pytest.raises(ConfigError) as caught:
            net(torch.zeros(1, net.input_shape[0], height, width))
        kind = type(net).__name__
        assert f"image is {height}x{width}, {kind} takes {allowed}; resize" in str(caught.value)
        wrong = height if height not in range(smallest, (largest or height) + 1) else width
        first = next(iter(dict(net.features.named_children())))
        assert f"By (W - F + 2P)/S + 1: {first} " in str(caught.value)
        assert f"({wrong} - " in str(caught.value) or f" in {wrong}" in str(caught.value)


@every_net
def test_images_of_a_wrong_kind_are_refused_with_a_remedy(net_of, name):
    net = net_of(name)
    channels, height, width = net.input_shape
    good = images_for(net)
    takes = rf"{type(net).__name__} takes float tensors of shape \(N, {channels}, {height}, {width}"
    remedy = rf"; convert them to {channels}"
    if "in_channels" in net.options:
        remedy += rf", or build {type(net).__name__}\(in_channels=2\)"
    for images, message in (
        (good[:, :1].expand(2, 2, height, width), rf"images have 2 channels, {takes}\){remedy}$"),
        (good[0], rf"images have shape \({channels}, .*{takes}.*images\[None\] makes one"),
        (good[0, 0], rf"images have shape \({height}, {width}\), {takes}.*; reshape them$"),
        (good.to(torch.uint8), rf"images are torch\.uint8, {takes}.*images\.float\(\) / 255"),
        (good[:0], rf"images are an empty batch of shape \(0, .*{takes}.*; give N >= 1"),
        (good.numpy(), rf"images are a ndarray, {takes}.*; convert with torch\.as_tensor"),
    ):
        with pytest.raises(ConfigError, match=message):
            net(images)


# storing


@every_net
@torch.no_grad()
def test_weights_survive_safetensors(net_of, name):
    net, other = net_of(name), build(name, seed=1)
    images = images_for(net)
    assert not torch.equal(other(images), net(images))
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(net.state_dict())))
    assert torch.equal(other(images), net(images))


@every_net
@torch.no_grad()
def test_copies_and_pickles_give_the_same_logits(net_of, name):
    net = net_of(name)
    expected = net(images_for(net))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301
        assert torch.equal(twin(images_for(net)), expected)
        assert twin.options == net.options


@every_net
def test_options_survive_json_and_rebuild_the_net(name):
    net_name, options, *_ = NETS[name]
    with torch.device("meta"):
        net = create_model(net_name, **options)
        twin = create_model(net_name, **json.loads(json.dumps(net.options)))
    assert twin.options == net.options
    assert twin.input_shape == net.input_shape
    assert str(twin) == str(net)


@every_net
@torch.no_grad()
def test_a_net_built_on_meta_computes_once_weights_are_assigned(net_of, name):
    net = net_of(name)
    hollow = copy.deepcopy(net).to("meta")
    assert hollow(images_for(net).to("meta")).shape == net(images_for(net)).shape
    hollow.load_state_dict(net.state_dict(), assign=True)
    assert torch.equal(hollow(images_for(net)), net(images_for(net)))


# number formats and memory layouts


@every_net
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_gives_nearly_the_same_logits(net_of, name, dtype):
    net = net_of(name)
    try:
        logits = copy.deepcopy(net).to(dtype)(images_for(net).to(dtype))
    except RuntimeError as error:
        if "not implemented for" not in str(error):
            raise
        pytest.skip(f"this torch: {error}")
    assert logits.dtype == dtype
    assert_close(logits.float(), net(images_for(net)), 0.03)


@every_net
@torch.no_grad()
def test_autocast_gives_nearly_the_same_logits(net_of, name):
    net = net_of(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(images_for(net))
    assert_close(logits.float(), net(images_for(net)), 0.03)


@every_net
@torch.no_grad()
def test_channels_last_gives_the_same_logits(net_of, name):
    net = net_of(name)
    images = images_for(net).to(memory_format=torch.channels_last)
    twin = copy.deepcopy(net).to(memory_format=torch.channels_last)
    assert_close(twin(images), net(images_for(net)))


# tools that take a net apart


@every_net
@torch.no_grad()
def test_compile_captures_a_net_in_one_graph(net_of, name):
    net = net_of(name)
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    for count in (2, 3):
        assert_close(compiled(images_for(net, count)), net(images_for(net, count)))


@pytest.mark.parametrize(
    "name",
    [
        *COMPILED_BY_DEFAULT,
        *(pytest.param(n, marks=pytest.mark.slow) for n in NETS if n not in COMPILED_BY_DEFAULT),
    ],
)
@pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler, none is here")
@torch.no_grad()
def test_compiled_code_gives_the_same_logits(net_of, name):
    net = net_of(name)
    torch.compiler.reset()
    assert_close(torch.compile(net, fullgraph=True)(images_for(net)), net(images_for(net)))


@every_net
@torch.no_grad()
def test_exported_program_and_onnx_give_the_same_logits_for_any_batch(net_of, name):
    net = net_of(name)
    batch = torch.export.Dim("batch")
    program = torch.export.export(net, (images_for(net),), dynamic_shapes=({0: batch},))
    onnx = torch.onnx.export(program, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(onnx.model_proto.SerializeToString())
    for count in (1, 5):
        images = images_for(net, count)
        assert_close(program.module()(images), net(images))
        (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        assert_close(torch.from_numpy(logits), net(images))


@every_net
@torch.no_grad()
def test_torchvisions_feature_extractor_reads_every_layer(net_of, name):
    net = copy.deepcopy(net_of(name))
    names = [n for n, layer in net.named_modules() if n and not isinstance(layer, nn.Sequential)]
    extractor = create_feature_extractor(net, names)
    found = extractor(images_for(net))
    expected: dict[str, torch.Tensor] = {}
    for n in names:
        net.get_submodule(n).register_forward_hook(
            lambda _, __, output, n=n: expected.update({n: output})
        )
    net(images_for(net))
    assert list(found) == names
    assert all(torch.equal(found[n], expected[n]) for n in names)
    with pytest.raises(ConfigError, match="image is 9x9"):
        extractor(torch.zeros(1, net.input_shape[0], 9, 9))


# determinism on CUDA


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operators.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@every_net
def test_no_net_calls_a_pool_whose_gradient_varies_on_cuda(net_of, name):
    net = net_of(name)
    with _Recorder() as recorder:
        net(images_for(net)).sum().backward()
    assert "convolution" in recorder.operators
    assert not {o for o in recorder.operators if "adaptive" in o or "pool3d" in o}
    net.zero_grad()


@every_net
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_are_equal_twice_on_cuda_under_deterministic_algorithms(
    monkeypatch, net_of, name
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    net = copy.deepcopy(net_of(name)).cuda()
    images = images_for(net, 8).cuda()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (
            torch.autograd.grad(net(images).square().sum(), list(net.parameters()))
            for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, first, second))
