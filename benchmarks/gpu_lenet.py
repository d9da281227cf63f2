"""The questions about LeNet-5 on MNIST that `gpu.py` asks."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch
from gpu_setting import Setting, in_turn, said, sgd, speed_of_fit
from torch import Tensor, nn
from torch.nn import functional as F

from classicnets import AlexNet, LeNet5, evaluate, fit
from classicnets.benchmark import spread
from classicnets.data import Affine, TensorLoader
from classicnets.recipes import find_recipe, fit_arguments

Batches = list[tuple[Tensor, Tensor]]


def epoch(setting: Setting) -> dict[str, Any]:
    """LeNet-5 on MNIST, batch 64, SGD: `fit` beside the tutorial's loop and Lightning."""
    from torch.utils.data import DataLoader, TensorDataset
    from torchvision import datasets, transforms

    count = 256 if setting.tiny else 6_400  # what the slow ones get; speeds are per image
    steps = transforms.Compose(
        [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    if setting.tiny:
        pictures: Any = datasets.FakeData(count, (1, 28, 28), 10, steps)
    else:
        pictures = datasets.MNIST(str(setting.root), train=True, transform=steps)
        pictures = torch.utils.data.Subset(pictures, range(count))
    images, labels = map(torch.cat, zip(*DataLoader(pictures, batch_size=256), strict=True))
    by_transforms = DataLoader(pictures, batch_size=64, shuffle=True)
    in_memory = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    loader = setting.splits(64).train

    def tutorial(batches: Iterable[Any]) -> float:
        net = LeNet5().to(setting.device)
        optimizer, criterion = sgd(net), nn.CrossEntropyLoss()

        def run() -> None:
            running_loss = 0.0
            for images, labels in batches:
                images, labels = images.to(setting.device), labels.to(setting.device)
                optimizer.zero_grad()
                loss = criterion(net(images), labels)
                loss.backward()
                optimizer.step()
                running_loss += loss.item()

        run()  # what a device does the first time
        return count / setting.clock(run)

    ways = {
        "fit": lambda: speed_of_fit(LeNet5(), loader, setting),
        "tutorial's loop, transforms": lambda: tutorial(by_transforms),
        "tutorial's loop, data in memory": lambda: tutorial(in_memory),
    }
    result: dict[str, Any] = {}
    try:
        ways |= lightning_ways(setting, count, by_transforms, in_memory)
    except ImportError:
        result["lightning"] = "not installed"
    result |= in_turn(ways, setting)
    begun = setting.wait()
    history = fit(LeNet5(), loader, epochs=5, device=setting.device, progress=False)
    result["seconds of fit's own clock, of five epochs"] = sum(e.seconds for e in history.epochs)
    result["seconds of the whole call, of five epochs"] = setting.wait() - begun
    return result


def lightning_ways(
    setting: Setting, count: int, by_transforms: Any, in_memory: Any
) -> dict[str, Callable[[], float]]:
    import logging

    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = LeNet5()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            images, labels = batch
            loss = F.cross_entropy(self.net(images), labels)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self.net)

    class Clock(lightning.Callback):
        """Times the last epoch alone, as the history of `fit` does: nothing of the set-up."""

        def on_train_epoch_start(self, *_: Any) -> None:
            self.begun = setting.wait()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.seconds = setting.wait() - self.begun

    def run(batches: Any) -> float:
        clock = Clock()
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="gpu" if setting.device == "cuda" else "cpu", devices=1,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[clock],
        )  # fmt: skip
        trainer.fit(Module(), batches)
        return count / clock.seconds

    return {
        "Lightning, transforms": lambda: run(by_transforms),
        "Lightning, data in memory": lambda: run(in_memory),
    }


def accuracy(setting: Setting) -> dict[str, Any]:
    """Seconds of training and accuracy of fixed recipes on several seeds; bad seeds are told too.

    The recipe to speak of is the one with the best validation, not the best test.
    """
    result: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name, (data_options, options) in ways_to_99(setting).items():
        rows = []
        for seed in range(2 * setting.rounds):
            if setting.is_over:
                failed[f"{name}, seed {seed}"] = "out of time"
                continue
            splits = setting.splits(seed=seed, **data_options)
            torch.manual_seed(seed)
            model = LeNet5().to(setting.device)
            begun = setting.wait()
            try:
                history = fit(
                    model, splits.train, seed=seed, device=setting.device, progress=False, **options
                )
            except Exception as error:
                failed[f"{name}, seed {seed}"] = said(error)
                continue
            rows.append(
                {
                    "seconds with warm-up": setting.wait() - begun,
                    "seconds of epochs": sum(each.seconds for each in history.epochs),
                    "validation": evaluate(model, splits.val).accuracy,
                    "test": evaluate(model, splits.test).accuracy,
                }
            )
        if not rows:
            continue
        result[name] = {
            **{key: asdict(spread([row[key] for row in rows])) for key in rows[0]},
            "test by seed": ", ".join(f"{row['test']:.4f}" for row in rows),
            "seeds at 99.0 % of test": sum(row["test"] >= 0.99 for row in rows),
            "seeds": len(rows),
        }
    chosen = max(result, key=lambda name: result[name]["validation"]["median"], default=None)
    return {"best by validation": chosen, "recipes": result, "failed": failed}


def ways_to_99(setting: Setting) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What is tried for 99.0 % in the least time: options of the data, and of `fit`.

    The first is the recipe that reaches it on a CPU, but that here 5,000 pictures validate.
    """
    recipe = find_recipe("lenet5", "mnist", "fast")
    fast = fit_arguments(recipe.fit_settings())
    changed = None if setting.tiny else Affine(**recipe.augment)
    ways = {
        "the fast recipe": ({"batch_size": recipe.batch_size, "augment": changed}, fast),
        "the fast recipe, batch 512, 4 epochs": (
            {"batch_size": 512, "augment": changed},
            {**fast, "epochs": 4},
        ),
    }
    ways["batch 256, 12 epochs, Adam, onecycle to 0.006"] = (
        {"batch_size": 256},
        {"epochs": 12, "lr": 0.006, "schedule": "onecycle"},
    )
    if setting.tiny:
        name, (data_options, options) = next(iter(ways.items()))
        return {name: (data_options, {**options, "epochs": 1})}
    return ways


def capture(setting: Setting) -> dict[str, Any]:
    """LeNet-5, batch 64, the data on the device: `fit` beside an eager loop and a captured one.

    The loops by hand have no history, no checks and no accuracy; they take the same batches.
    """
    loader, batches = some_batches(setting)
    start = LeNet5().to(setting.device)

    def fitted(model: nn.Module, **options: Any) -> float:
        return speed_of_fit(model, loader, setting, **options)

    def eager(model: nn.Module) -> float:
        optimizer = sgd(model)

        def run() -> None:
            for pictures, labels in loader:
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(model(pictures), labels).backward()
                optimizer.step()

        loader.set_epoch(0)
        run()
        return loader.num_images / setting.clock(run)

    def new() -> nn.Module:
        return copy.deepcopy(start)

    ways = {"fit": lambda: fitted(new()), "eager loop by hand": lambda: eager(new())}
    if setting.device == "cuda":
        replays: list[Callable[[], None]] = []

        def speed_of_captured() -> float:
            if not replays:
                replays.append(captured(new(), batches))
            return loader.num_images / setting.clock(replays[0])

        ways["captured loop by hand"] = speed_of_captured
    ways["fit(precision='bf16')"] = lambda: fitted(new(), precision="bf16")
    ways["fit(precision='fp16')"] = lambda: fitted(new(), precision="fp16")
    result = in_turn(ways, setting)
    ours, theirs = new(), new()
    fitted(ours)
    eager(theirs)
    result["largest difference of a weight from the eager loop's, two epochs"] = max(
        float((a - b).abs().max())
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    )
    return result


def some_batches(setting: Setting) -> tuple[TensorLoader, Batches]:
    """The first 300 batches of MNIST, which are enough for speeds: a loader, and themselves."""
    whole = setting.splits(64).train
    count = min(300, len(whole) - 1) * 64
    loader = TensorLoader(
        whole._images[:count], whole._labels[:count], classes=whole.classes,
        preparation=whole.preparation, batch_size=64, shuffle=True,
    )  # fmt: skip
    return loader, list(loader)


def compiled(setting: Setting) -> dict[str, Any]:
    """LeNet-5, batch 64, through torch.compile: under `fit`, and torch's own way to a graph."""
    loader, batches = some_batches(setting)
    start = LeNet5().to(setting.device)

    def fitted(**options: Any) -> float:
        return speed_of_fit(copy.deepcopy(start), loader, setting, **options)

    def by_hand() -> float:
        """The first epoch is the one that compiles and captures."""
        model = copy.deepcopy(start)
        optimizer = sgd(model)
        net = torch.compile(model, mode="reduce-overhead")

        def run() -> None:
            for pictures, labels in batches:
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(net(pictures), labels).backward()
                optimizer.step()

        run()
        return loader.num_images / setting.clock(run)

    ways = {
        "fit": fitted,
        "fit(compile=True)": lambda: fitted(compile=True),
        "loop by hand, torch.compile(mode='reduce-overhead')": by_hand,
    }
    return in_turn(ways, setting)


def captured(model: nn.Module, batches: Batches) -> Callable[[], None]:
    """An epoch in which each step is one replay of a graph, as PyTorch's notes on CUDA have it."""
    optimizer = sgd(model)
    images, labels = (part.clone() for part in batches[0])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def epoch() -> None:
        for pictures, targets in batches:
            images.copy_(pictures)
            labels.copy_(targets)
            graph.replay()
        optimizer.zero_grad()  # and so the weights live as long as the graph that writes to them

    return epoch


def determinism(setting: Setting) -> dict[str, Any]:
    """Two runs with one seed under deterministic algorithms: are they equal to the bit?"""

    def weights(model: nn.Module, loader: Any) -> dict[str, Tensor]:
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(0)
        fit(model, loader, epochs=2, seed=0, device=setting.device, progress=False)
        return model.state_dict()

    torch.manual_seed(0)
    digits = setting.splits(64).train
    noise = [(torch.randn(32, 3, 224, 224), torch.randint(0, 2, (32,))) for _ in range(6)]
    variants: dict[str, tuple[nn.Module, Any]] = {
        "LeNet5": (LeNet5(), digits),
        "LeNet5, relu and max": (LeNet5(activation="relu", pooling="max"), digits),
        "AlexNet with dropout, batch 32": (AlexNet(2, hidden=(64, 64)), noise),
    }
    result: dict[str, Any] = {}
    torch.use_deterministic_algorithms(True)
    try:
        for name, (start, loader) in variants.items():
            try:
                first, second = (weights(copy.deepcopy(start), loader) for _ in range(2))
                result[name] = all(torch.equal(first[key], second[key]) for key in first)
            except Exception as error:
                result[name] = said(error)
    finally:
        torch.use_deterministic_algorithms(False)
    return {"equal to the bit": result}
