"""Shape arithmetic against the real layers of torch, and the numbers of the papers."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from classicnets.errors import ConfigError
from classicnets.shapes import (
    Window,
    conv_output_size,
    dropped_pixels,
    formula,
    pool_output_size,
    receptive_field,
    same_padding,
    valid_input_sizes,
)


def ints_or_pairs(low, high):
    numbers = st.integers(low, high)
    return numbers | st.tuples(numbers, numbers)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


SIZES, KERNELS, STRIDES = pairs(1, 40), ints_or_pairs(1, 9), ints_or_pairs(1, 5)
PADDINGS, DILATIONS = ints_or_pairs(0, 5), ints_or_pairs(1, 4)


def torch_says(layer, size):
    try:
        return tuple(layer(torch.empty(1, 1, *size, device="meta")).shape[2:])
    except RuntimeError:
        return "refused"


def we_say(function, *args):
    try:
        return function(*args)
    except ConfigError:
        return "refused"


@settings(max_examples=1200, deadline=None)
@given(SIZES, KERNELS, STRIDES, PADDINGS, DILATIONS)
def test_conv_output_size_is_what_torch_makes_and_refuses(size, kernel, stride, padding, dilation):
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, device="meta")
    ours = we_say(conv_output_size, size, kernel, stride, padding, dilation)
    assert ours == torch_says(layer, size)


@settings(max_examples=2000, deadline=None)
@given(SIZES, KERNELS, st.none() | STRIDES, PADDINGS, DILATIONS, st.booleans())
def test_pool_output_size_is_what_max_pooling_makes_and_refuses(
    size, kernel, stride, padding, dilation, ceil_mode
):
    layer = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    ours = we_say(pool_output_size, size, kernel, stride, padding, dilation, ceil_mode)
    assert ours == torch_says(layer, size)


@settings(max_examples=1000, deadline=None)
@given(SIZES, KERNELS, st.none() | STRIDES, PADDINGS, st.booleans())
def test_pool_output_size_is_what_average_pooling_makes_and_refuses(
    size, kernel, stride, padding, ceil_mode
):
    layer = nn.AvgPool2d(kernel, stride, padding, ceil_mode)
    ours = we_say(pool_output_size, size, kernel, stride, padding, 1, ceil_mode)
    assert ours == torch_says(layer, size)


@settings(max_examples=200, deadline=None)
@given(SIZES, KERNELS, STRIDES, PADDINGS, DILATIONS)
def test_dropped_pixels_are_those_without_gradient(size, kernel, stride, padding, dilation):
    image = torch.zeros(1, 1, *size, requires_grad=True)
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
    nn.init.ones_(layer.weight)
    if torch_says(layer.to("meta"), size) == "refused":
        with pytest.raises(ConfigError):
            dropped_pixels(size, kernel, stride, padding, dilation)
        return
    weight = torch.ones(layer.weight.shape)
    nn.functional.conv2d(image, weight, None, stride, padding, dilation).sum().backward()
    unread = image.grad[0, 0] == 0
    rows, columns = int(unread.all(1).sum()), int(unread.all(0).sum())
    dropped = dropped_pixels(size, kernel, stride, padding, dilation)
    if rows < size[0] and columns < size[1]:
        assert dropped == (rows, columns)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))
def test_same_padding_keeps_every_size_or_no_padding_does(size, kernel, stride, dilation):
    padding = we_say(same_padding, kernel, stride, dilation)
    if padding != "refused":
        assert conv_output_size(size, kernel, stride, padding, dilation) == size
        return
    for candidate in range(kernel * dilation):
        outputs = [
            we_say(conv_output_size, w, kernel, stride, candidate, dilation) for w in (50, 99)
        ]
        assert outputs != [50, 99]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_valid_input_sizes_are_those_that_fit_and_drop_nothing(kernel, stride, padding, dilation):
    valid = valid_input_sizes(range(40), kernel, stride, padding, dilation)
    dropped = {
        size: we_say(dropped_pixels, size, kernel, stride, padding, dilation)
        for size in range(1, 40)
    }
    assert valid == [size for size, pixels in dropped.items() if pixels == 0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)), max_size=3),
)
def test_receptive_field_is_where_the_gradient_reaches(layers):
    layers = [(5, 1, 0), *layers]
    image = torch.zeros(1, 1, 1, 150, dtype=torch.float64, requires_grad=True)
    x = image
    for kernel, stride, padding in layers:
        weight = torch.ones(1, 1, 1, kernel, dtype=torch.float64)
        x = nn.functional.conv2d(x, weight, None, (1, stride), (0, padding))
    unit = x.shape[-1] // 2
    x[..., unit].sum().backward()
    reached = image.grad[0, 0, 0].nonzero().flatten()
    field = receptive_field([Window(*layer) for layer in layers])[-1]
    first = field.start + unit * field.jump
    assert first >= 0
    assert (reached[0], reached[-1]) == (first, first + field.size - 1)


def test_lenet5_goes_from_32_to_1_as_printed():
    sizes = [32]
    for layer in (conv_output_size, pool_output_size, conv_output_size, pool_output_size):
        sizes.append(layer(sizes[-1], 5 if layer is conv_output_size else 2))
    assert [*sizes, conv_output_size(sizes[-1], 5)] == [32, 28, 14, 10, 5, 1]


def test_alexnet_needs_227_pixels_or_padding_for_its_55():
    assert conv_output_size(227, 11, 4) == conv_output_size(224, 11, 4, 2) == 55
    assert conv_output_size(224, 11, 4) == 54
    assert [dropped_pixels(size, 11, 4) for size in (224, 225, 226, 227)] == [1, 2, 3, 0]
    assert valid_input_sizes(range(224, 232), 11, 4) == [227, 231]


def test_a_stride_beyond_the_window_drops_what_it_skips():
    assert dropped_pixels(9, 1, 2) == 4
    assert dropped_pixels(8, 2, 4) == 4


def test_receptive_fields_of_alexnet():
    pool = Window(3, stride=2)
    convs = [Window(5, padding=2), pool, *[Window(3, padding=1)] * 3, pool]
    fields = receptive_field([Window(11, stride=4, padding=2), pool, *convs])
    assert [field.size for field in fields] == [11, 19, 51, 67, 99, 131, 163, 195]
    assert [field.jump for field in fields] == [4, 8, 8, 16, 16, 16, 16, 32]
    assert fields[-1].start == -66


def test_receptive_field_of_pairs_is_a_pair_from_the_first_pair_on():
    first, second = receptive_field([Window(3), Window((1, 5), stride=(1, 2), padding=(0, 2))])
    assert (first.size, first.jump, first.start) == (3, 1, 0)
    assert (second.size, second.jump, second.start) == ((3, 7), (1, 2), (0, -2))


def test_receptive_field_of_nothing_is_nothing():
    assert receptive_field([]) == []


def test_pair_in_pair_out_and_int_in_int_out():
    assert conv_output_size((32, 28), 5) == (28, 24)
    assert pool_output_size((28, 27), (2, 3)) == (14, 9)
    assert dropped_pixels((28, 29), 2, None) == (0, 1)
    assert same_padding((1, 5)) == (0, 2)
    assert type(conv_output_size(32, 5)) is int


def test_integers_of_other_libraries_count_as_ints():
    numpy = pytest.importorskip("numpy")
    assert conv_output_size(numpy.int64(32), 5) == 28


def test_formula_shows_rounding_only_where_there_is_some():
    assert formula(224, 11, 4, 2) == "(224 - 11 + 2*2)/4 + 1 = 55.25 -> 55"
    assert formula(28, 2, None) == "(28 - 2 + 2*0)/2 + 1 = 14"
    assert formula(7, 2, None, ceil_mode=True) == "(7 - 2 + 2*0)/2 + 1 = 3.5 -> 4 (ceil)"
    assert formula(3, 1, 3, ceil_mode=True) == (
        "(3 - 1 + 2*0)/3 + 1 = 1.67 -> 1 (a window more would start outside)"
    )
    assert formula((28, 28), 5) == formula(28, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv_output_size(0, 5), r"size is 0; give an int of at least 1"),
        (lambda: conv_output_size(32.0, 5), r"size is 32\.0; give an int"),
        (lambda: conv_output_size((32, 32, 3), 5), r"size is \(32, 32, 3\); .*\(H, W\) pair"),
        (lambda: conv_output_size(32, 0), r"kernel_size is 0; give an int of at least 1"),
        (lambda: conv_output_size(32, 5, 0), r"stride is 0; give an int of at least 1"),
        (lambda: conv_output_size(32, 5, 1, -1), r"padding is -1; give an int of at least 0"),
        (lambda: conv_output_size(32, 5, 1, "same"), r"padding is 'same'; give an int"),
        (lambda: conv_output_size(32, 5, 1, 0, 0), r"dilation is 0; give an int of at least 1"),
        (
            lambda: conv_output_size(32, (5, 3)),
            r"kernel_size is the pair \(5, 3\), but .* int 32; give .* pair too: \(32, 32\)",
        ),
        (
            lambda: conv_output_size(4, 5),
            r"size is 4, the window of 5 does not fit: \(4 - 5 \+ 2\*0\)/1 \+ 1 = 0; "
            r"give a size of at least 5, or more padding",
        ),
        (
            lambda: conv_output_size((9, 4), 3, 2, 0, 2),
            r"width is 4, the window of 5 does not fit: \(4 - \(2\*2 \+ 1\) \+ 2\*0\)/2 \+ 1 "
            r"= 0\.5 -> 0; give a width of at least 5",
        ),
        (
            lambda: pool_output_size(1, 3, 2, ceil_mode=True),
            r"size is 1, the window of 3 does not fit: .* = 0; .* at least 2",
        ),
        (
            lambda: pool_output_size(9, 3, 2, 2),
            r"padding is 2, .* at most half its window: kernel_size is 3, so padding <= 1",
        ),
        (lambda: formula(4, 5), r"size is 4, the window of 5 does not fit"),
        (lambda: dropped_pixels(4, 5), r"size is 4, the window of 5 does not fit"),
        (
            lambda: same_padding(4),
            r"kernel_size is 4, .* spans 4 pixels .* no whole P; take an odd",
        ),
        (lambda: same_padding(0), r"kernel_size is 0; give an int of at least 1"),
        (lambda: same_padding(3, stride=2), r"stride is 2: no padding keeps W .* take stride=1"),
        (lambda: valid_input_sizes(range(9), 0), r"kernel_size is 0; give an int"),
        (lambda: receptive_field([Window(3, stride=0)]), r"stride is 0; give an int"),
    ],
)
def test_wrong_numbers_are_named_with_what_is_allowed(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_shapes_load_no_torch():
    code = "import sys, classicnets.shapes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
