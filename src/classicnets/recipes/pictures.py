"""The nets of colour pictures, on cats and dogs and on any folder of pictures.

Trained from first weights that torch or the net's `init="modern"` draws, with a rate that rises and
falls, crops and flips, and labels smoothed; the best epoch by validation is kept.
"""

from collections.abc import Mapping
from typing import Any

from .recipe import Expected, Recipe, on_a_core

_SETS = ("cats_vs_dogs", "image_folder")
_RELU_MAX = {"activation": "relu", "pooling": "max"}
_CHAPTER = {"hidden": (4096, 512)}
_TESTED = "what to expect is of the chapter's 400 pictures, tested on 1,400 others"


def _rows(
    net: str,
    image_size: int,
    epochs: int,
    lr: float,
    *,
    augment: str = "crop-flip",
    net_options: Mapping[str, Any] | None = None,
    expected: Expected | None = None,
) -> tuple[Recipe, ...]:
    return tuple(
        Recipe(
            net=net,
            net_options=net_options or {},
            data=data,
            preparation={"image_size": image_size, "augment": augment},
            epochs=epochs,
            batch_size=32,
            optimizer="adamw",  # weight decay 0.01
            lr=lr,
            schedule="onecycle",
            label_smoothing=0.1,
            expected=expected if data == "cats_vs_dogs" else None,
            note=_TESTED if expected and data == "cats_vs_dogs" else "",
        )
        for data in _SETS
    )


# fmt: off
PICTURES = (
    #      net            size epochs lr
    *_rows("lenet_catdog",   224, 30, 0.0003, expected=on_a_core(0.6731, 0.6471, 0.6943, 3, 342)),
    *_rows(
        "alexnet",           224, 60, 0.0003, net_options=_CHAPTER,
        expected=on_a_core(0.7007, 0.6871, 0.7079, 3, 691),
    ),
    *_rows("alexnet_paper",  227, 60, 0.0003, augment="alexnet2012"),
    *_rows("lenet5",          32, 60, 0.003, net_options={"in_channels": 3, **_RELU_MAX}),
    *_rows("sequential_cnn",  28, 60, 0.003, net_options={"in_channels": 3}),
    *_rows("lecture_cnn",     28, 60, 0.001, net_options={"in_channels": 3}),
)
# fmt: on
