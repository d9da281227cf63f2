"""The settings of five tutorials of 2020 to 2022, as written, where they can run.

A tutorial's mistake is kept where `fit` can make it: a net that ends in one function too many has
that function in the loss here. `note` tells what could not be kept.
"""

from .recipe import Recipe, on_a_core

# fmt: off
TUTORIALS = (
    Recipe(
        net="lenet5", data="mnist", name="tutorial", preparation={"image_size": 32},
        epochs=20, batch_size=16, optimizer="sgd", optimizer_options={"momentum": 0.0}, lr=0.001,
        schedule=None, loss="cross_entropy_of_tanh",
        source="tutorial 001, LeNet-5 on MNIST (2020); about 95 % there",
        note="padded to 32, not stretched; standardised by mean and deviation, not 0.5 and 0.5; "
             "the weights of the best epoch by validation are kept, not the last",
        expected=on_a_core(0.9349, 0.9349, 0.9349, 1, 109),
    ),
    Recipe(
        net="lenet5", data="mnist", name="tutorial-2022",
        preparation={"image_size": 32, "val_size": 0},
        epochs=15, batch_size=8, optimizer="sgd", lr=0.01,
        schedule="step", loss="cross_entropy_of_softmax",
        source="tutorial 000, LeNet-5 on MNIST, a command line (2022); 86.82 % there",
        note="padded to 32, not stretched; standardised by mean and deviation, not 0.5 and 1",
        expected=on_a_core(0.9895, 0.9889, 0.9901, 2, 153),
    ),
    Recipe(
        net="sequential_cnn", data="mnist", name="tutorial",
        preparation={"image_size": 28, "normalize": "none", "val_size": 0},
        epochs=10, batch_size=100, optimizer="adam", lr=0.0002, schedule=None,
        source="tutorial 002, sequential CNN on MNIST (2021)",
        note="tested on all 10,000 pictures",
        expected=on_a_core(0.9911, 0.9911, 0.9911, 1, 172),
    ),
    Recipe(
        net="lecture_cnn", data="mnist", name="tutorial",
        preparation={"image_size": 28, "normalize": "none", "val_size": 0},
        epochs=30, batch_size=512, optimizer="adam", lr=0.001, schedule=None,
        source="tutorial 003, lecture CNN on MNIST (2022)",
        note="two-dimensional layers; the tutorial's are one-dimensional and cannot run",
        expected=on_a_core(0.9910, 0.9910, 0.9910, 1, 1042),
    ),
    Recipe(
        net="lenet_catdog", data="cats_vs_dogs", name="tutorial",
        preparation={"split": "textbook"},
        epochs=10, batch_size=32, optimizer="sgd", lr=0.001,
        schedule=None, loss="cross_entropy_of_softmax",
        source="tutorial 004, a textbook chapter (2022); 50.0 % of its validation part there",
        note="the steps are taken, which the chapter's loop never reached",
    ),
    Recipe(
        net="alexnet", net_options={"num_classes": 2, "hidden": (4096, 512)},
        data="cats_vs_dogs", name="tutorial",
        preparation={"image_size": 256, "resize": 256, "split": "textbook"},
        epochs=10, batch_size=32, optimizer="sgd", lr=0.001, schedule=None,
        source="tutorial 004, a textbook chapter (2022); 51.09 % of its validation part there",
    ),
)
# fmt: on
