import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import nn

from classicnets.errors import ConfigError, DataError
from classicnets.training import evaluate, wilson_interval


class Given(nn.Module):
    """Returns its input, so that a test writes the outputs itself."""

    def forward(self, x):
        return x


OUTPUTS = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0], [0, 2, 0]])
LABELS = torch.tensor([0, 1, 2, 1, 1])


def test_counts_right_answers_over_batches_of_any_size():
    found = evaluate(Given(), [(OUTPUTS[:2], LABELS[:2]), (OUTPUTS[2:], LABELS[2:])])
    assert found.count == 5
    assert found.accuracy == 0.8
    assert found.loss == pytest.approx(nn.functional.cross_entropy(OUTPUTS, LABELS).item())
    assert found.confusion.tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 1]]
    assert found.per_class_accuracy == pytest.approx([1, 2 / 3, 1])
    assert found.predictions.tolist() == [0, 1, 2, 0, 1]


def test_class_without_images_has_no_accuracy():
    found = evaluate(Given(), [(OUTPUTS[:2], LABELS[:2])])
    assert math.isnan(found.per_class_accuracy[2])
    assert found.to_dict()["per_class_accuracy"] == [1.0, 1.0, None]


@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_interval_agrees_with_scipy(count, share):
    right = round(share * count)
    theirs = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("right", "count"), [(1, 0), (-1, 5), (6, 5)])
def test_interval_of_impossible_counts_is_refused(right, count):
    with pytest.raises(ConfigError, match=f"right is {right} of count {count}"):
        wilson_interval(right, count)


def test_changes_neither_mode_nor_random_numbers():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[1].eval()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(1)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    shuffling = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(OUTPUTS, LABELS), batch_size=2, shuffle=True
    )
    evaluate(model, shuffling)
    assert [module.training for module in model.modules()] == modes
    assert torch.get_rng_state().equal(torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_gives_no_gradients():
    model = nn.Linear(3, 3)
    evaluate(model, [(OUTPUTS, LABELS)])
    assert model.weight.grad is None


def test_printed_result_reads_as_a_sentence():
    text = str(evaluate(Given(), [(OUTPUTS, LABELS)]))
    assert text.startswith("accuracy 80.00 % (95 % interval 37.55 to 96.38), loss ")
    assert text.endswith("on 5 images")


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "0 batches"),
        ([(OUTPUTS, LABELS), (OUTPUTS, LABELS + 1)], "label 3 at index 2 of batch 1"),
        ([(OUTPUTS, LABELS[:4])], "5 images and 4 labels"),
    ],
)
def test_data_that_cannot_work_are_named(loader, message):
    with pytest.raises(DataError, match=message):
        evaluate(Given(), loader)
