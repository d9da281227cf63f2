"""Folders of small pictures, and the real ones where they are."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def _draw(path, seed, size=(48, 40), mode="RGB"):
    """Write a picture of few random blocks, so that each is its own and JPEG keeps it."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).convert(mode).save(path)
    return path


@pytest.fixture(scope="session")
def draw():
    return _draw


@pytest.fixture
def folder(tmp_path, draw):
    """Ten pictures of each of two classes, of several sizes, beside nothing else."""
    root = tmp_path / "pictures"
    for number in range(10):
        draw(root / "ants" / f"ant.{number}.png", number, (48 + number, 40))
        draw(root / "bees" / f"bee.{number}.png", 100 + number, (40, 52 - number))
    return root


@pytest.fixture(scope="session")
def real_pictures():
    """The folder with the pictures of cats and dogs; a machine without them skips."""
    data = Path(os.environ.get("CLASSICNETS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "cats-vs-dogs").is_dir():
        pytest.skip(f"cats-vs-dogs is not in {data}; name its folder in CLASSICNETS_TEST_DATA")
    return data
