"""The question about AlexNet that `gpu.py` asks."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from gpu_setting import Setting, in_turn
from torch import nn
from torch.nn import functional as F

from classicnets import AlexNet, data, fit
from classicnets.benchmark import spread
from classicnets.preparation import Preparation


def alexnet(setting: Setting) -> dict[str, Any]:
    """AlexNet in bf16, channels_last: beside torchvision's, and beside the matrix product."""
    import torchvision
    from torch.utils.flop_counter import FlopCounterMode

    size, count = (2, 2) if setting.tiny else (1024, 8)
    shape = size * count, 3, 224, 224
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=setting.device)
    labels = torch.randint(0, 1000, (size * count,))
    loader = data.TensorLoader(
        pixels, labels, classes=list(map(str, range(1000))), preparation=Preparation(224, 3),
        batch_size=size, shuffle=True,
    )  # fmt: skip
    batches = [(a.to(memory_format=torch.channels_last), b) for a, b in loader]

    def fitted(net: Callable[[], nn.Module], **options: Any) -> float:
        history = fit(
            net(), loader, epochs=2, optimizer="sgd", lr=0.001, precision="bf16",
            device=setting.device, progress=False, **options,
        )  # fmt: skip
        return history.epochs[-1].images_per_second

    def by_hand(net: Callable[[], nn.Module]) -> float:
        model = net().to(setting.device, memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)

        def run() -> None:
            for images, targets in batches:
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(setting.device, torch.bfloat16):
                    loss = F.cross_entropy(model(images), targets)
                loss.backward()
                optimizer.step()

        run()
        return size * count / setting.clock(run)

    result = in_turn(
        {
            "AlexNet under fit": lambda: fitted(AlexNet),
            "torchvision's AlexNet, loop by hand": lambda: by_hand(torchvision.models.alexnet),
            "torchvision's AlexNet under fit": lambda: fitted(torchvision.models.alexnet),
            "AlexNet, loop by hand": lambda: by_hand(AlexNet),
            "AlexNet under fit(compile=True)": lambda: fitted(AlexNet, compile=True),
        },
        setting,
    )
    counter = FlopCounterMode(display=False)
    model = AlexNet().to(setting.device)
    with counter:
        F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    operations = counter.get_total_flops() / size
    ceiling = matrix_product(setting)
    result["operations per image"] = operations
    result["matrix product, operations per second"] = ceiling
    result["fraction of it"] = {
        name: found["median"] * operations / ceiling["median"]
        for name, found in result["images per second"].items()
    }
    return result


def matrix_product(setting: Setting) -> dict[str, Any]:
    """Operations a second of a large product in bf16, the most the device is seen to do."""
    side, times = (256, 2) if setting.tiny else (8192, 20)
    left, right = (
        [torch.randn(side, side, device=setting.device, dtype=torch.bfloat16) for _ in range(3)]
        for _ in range(2)
    )

    def run() -> None:
        for number in range(times):
            torch.mm(left[number % 3], right[number % 3])

    run()
    rates = [2 * side**3 * times / setting.clock(run) for _ in range(setting.rounds)]
    return asdict(spread(rates))
