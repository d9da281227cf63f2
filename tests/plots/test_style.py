"""The package of plots: what it needs, and how pictures are put together."""

import subprocess
import sys

import numpy as np

from classicnets.plots.style import mosaic, to_picture


def test_plots_needs_no_display_and_no_pyplot() -> None:
    code = "import sys, classicnets.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mosaic_frames_its_tiles_and_leaves_the_rest_white() -> None:
    whole = mosaic(np.zeros((3, 16, 16)), columns=2)
    assert whole.shape == (35, 35)
    assert np.isnan(whole[17]).sum() == 35
    assert (whole[1:17, 1:17] == 0).all()
    assert (whole[18:, 18:] == 1).all()


def test_small_tiles_of_a_mosaic_are_enlarged_without_blur() -> None:
    tiles = np.array([[[0.0, 0.25], [0.5, 0.75]]])
    inside = mosaic(tiles, columns=1)[1:-1, 1:-1]
    assert inside.shape == (16, 16)
    assert set(np.unique(inside)) == {0, 0.25, 0.5, 0.75}


def test_a_picture_of_any_number_of_channels_can_be_shown() -> None:
    shapes = {channels: to_picture(np.zeros((channels, 4, 5))).shape for channels in (1, 2, 3, 4)}
    assert shapes == {1: (4, 5), 2: (4, 5), 3: (4, 5, 3), 4: (4, 5, 3)}
