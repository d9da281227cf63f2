"""Each plot looks as it did when someone looked at it: held against a small stored picture.

What is compared are pictures 32 pixels wide, so that another version of matplotlib, which sets its
letters a little differently, passes. After a change that was looked at, store the new ones:

    CLASSICNETS_STORE_PICTURES=1 pytest tests/plots/test_stored_pictures.py
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from classicnets import create_model, plots
from classicnets.layers import LocalResponseNorm

PICTURES = Path(__file__).parent / "pictures"
DIGITS = tuple("0123456789")
TOLERANCE = 0.02  # mean absolute difference, white less black being 1


def lenet5(make: SimpleNamespace, name: str = "lenet5") -> nn.Module:
    return make.fill(create_model(name))


def occluded(make: SimpleNamespace) -> Figure:
    """Of a net that says 1 the more, the more of the bar it sees."""
    bar = make.stroke(32, 1, 0.5)
    linear = nn.Linear(32 * 32, 2)
    linear.weight.data = torch.stack([torch.zeros(32 * 32), bar.flatten() / 30])
    linear.bias.data.zero_()
    return plots.occlusion(nn.Sequential(nn.Flatten(), linear), bar)


def grid(draw: Callable[..., Figure], make: SimpleNamespace) -> Figure:
    images = torch.stack([make.stroke(16, 3, slant=n / 8) for n in range(-8, 8)])
    predicted = [n * n % 10 for n in range(16)]
    true = [label if n % 3 else (label + 9) % 10 for n, label in enumerate(predicted)]
    shares = [0.5 + 0.03 * n for n in range(16)]
    return draw(images, true, make.predict(predicted, shares), DIGITS)


def normalised(make: SimpleNamespace) -> Figure:
    layers = nn.Conv2d(3, 24, 5), LocalResponseNorm(5, 1e-2, 0.75, 2.0), nn.Flatten()
    return plots.response_norm(make.fill(nn.Sequential(*layers)), 8 * make.stroke(32, 3, 0.5))


def embedded(make: SimpleNamespace) -> Figure:
    images = torch.stack([make.stroke(32, slant=n / 30) for n in range(-60, 60)])
    labels = [n // 40 for n in range(120)]
    return plots.embedding(lenet5(make), images, labels, ("left", "upright", "right"))


def counts() -> np.ndarray:
    rows, columns = np.indices((10, 10))
    return np.where(rows == columns, 90 + rows, (rows * columns) % 7)


FIGURES: dict[str, Callable[[SimpleNamespace], Figure]] = {
    "curves": lambda make: plots.curves(make.learning(8)),
    "curves-steps": lambda make: plots.curves(make.learning(1)),
    "curves-seeds": lambda make: plots.curves([make.learning(8, n) for n in (0.5, 1, 2)]),
    "curves-runs": lambda make: plots.curves({"a": make.learning(8), "b": make.learning(6, 3)}),
    "confusion": lambda make: plots.confusion(counts(), DIGITS),
    "predictions": lambda make: grid(plots.predictions, make),
    "mistakes": lambda make: grid(plots.mistakes, make),
    "doubts": lambda make: grid(plots.doubts, make),
    "embedding": embedded,
    "filters": lambda make: plots.filters(lenet5(make, "lenet5_paper")),
    "filters-colour": lambda make: plots.filters(make.fill(nn.Conv2d(3, 12, 7))),
    "connections": lambda make: plots.connections(lenet5(make, "lenet5_paper")),
    "activations": lambda make: plots.activations(lenet5(make), make.stroke(32, 1, 0.5)),
    "occlusion": occluded,
    "gradient": lambda make: plots.gradient(lenet5(make), make.stroke(32, 1, 0.5)),
    "response_norm": normalised,
}


def rendered(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, dpi=60)
    return Image.open(file).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    small = [
        np.asarray(image.resize((32, 32), Image.Resampling.BOX), dtype=float) / 255
        for image in (one, other)
    ]
    return float(np.abs(small[0] - small[1]).mean())


def stored(name: str) -> Image.Image:
    return Image.open(PICTURES / f"{name}.png").convert("RGB")


@pytest.mark.parametrize("name", FIGURES)
def test_a_plot_looks_as_it_did(name: str, make: SimpleNamespace) -> None:
    picture = rendered(FIGURES[name](make))
    if os.environ.get("CLASSICNETS_STORE_PICTURES"):
        picture.quantize(64).save(PICTURES / f"{name}.png", optimize=True)
    before = stored(name)
    assert picture.width == before.width
    assert abs(picture.height / before.height - 1) < 0.02
    assert difference(picture, before) < TOLERANCE


def test_other_letters_pass_and_another_plot_does_not(make: SimpleNamespace) -> None:
    with mpl.rc_context({"font.family": "DejaVu Serif"}):
        letters = {name: rendered(FIGURES[name](make)) for name in ("confusion", "connections")}
    for name, picture in letters.items():
        assert difference(picture, stored(name)) < TOLERANCE
    for name in FIGURES:
        others = [difference(stored(name), stored(other)) for other in FIGURES if other != name]
        assert min(others) > TOLERANCE, name


def test_every_stored_picture_is_of_a_plot_and_small() -> None:
    files = list(PICTURES.iterdir())
    assert {path.stem for path in files} == set(FIGURES)
    assert max(path.stat().st_size for path in files) < 16_000
    assert {name.partition("-")[0] for name in FIGURES} == set(plots.__all__)


def test_every_plot_is_100_mm_wide_and_has_no_letter_below_8_points(make: SimpleNamespace) -> None:
    for name, draw in FIGURES.items():
        figure = draw(make)
        assert figure.get_figwidth() == pytest.approx(100 / 25.4), name
        figure.draw_without_rendering()
        letters = figure.findobj(mpl.text.Text)
        assert min(text.get_fontsize() for text in letters if text.get_text()) >= 8 - 1e-6, name
