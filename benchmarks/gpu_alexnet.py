"""The question about AlexNet that `gpu.py` asks."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from gpu_setting import Setting, in_turn, speed_of_fit
from torch import nn
from torch.nn import functional as F

from classicnets import AlexNet, data
from classicnets.benchmark import spread
from classicnets.preparation import Preparation


def alexnet(setting: Setting) -> dict[str, Any]:
    """AlexNet in bf16, channels_last: beside torchvision's, and beside the matrix product."""
    import torchvision
    from torch.utils.flop_counter import FlopCounterMode

    loader = noise(setting)
    batches = [(a.to(memory_format=torch.channels_last), b) for a, b in loader]

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
        return loader.num_images / setting.clock(run)

    theirs = torchvision.models.alexnet
    result = in_turn(
        {
            "AlexNet under fit": lambda: fitted(AlexNet, loader, setting),
            "torchvision's AlexNet, loop by hand": lambda: by_hand(theirs),
            "torchvision's AlexNet under fit": lambda: fitted(theirs, loader, setting),
            "AlexNet, loop by hand": lambda: by_hand(AlexNet),
        },
        setting,
    )
    counter = FlopCounterMode(display=False)
    model = AlexNet().to(setting.device)
    with counter:
        F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    operations = counter.get_total_flops() / loader.batch_size
    ceiling = matrix_product(setting)
    result["operations per image"] = operations
    result["matrix product, operations per second"] = ceiling
    result["fraction of it"] = {
        name: found["median"] * operations / ceiling["median"]
        for name, found in result["images per second"].items()
    }
    return result


def alexnet_compiled(setting: Setting) -> dict[str, Any]:
    """AlexNet in bf16 through torch.compile, under `fit`."""
    loader = noise(setting)
    ways = {
        "AlexNet under fit": lambda: fitted(AlexNet, loader, setting),
        "AlexNet under fit(compile=True)": lambda: fitted(AlexNet, loader, setting, compile=True),
    }
    return in_turn(ways, setting)


def noise(setting: Setting) -> data.TensorLoader:
    """Eight batches of 1,024 random pictures, on the device."""
    size, count = (2, 2) if setting.tiny else (1024, 8)
    shape = size * count, 3, 224, 224
    return data.TensorLoader(
        torch.randint(0, 256, shape, dtype=torch.uint8, device=setting.device),
        torch.randint(0, 1000, (size * count,)),
        classes=list(map(str, range(1000))), preparation=Preparation(224, 3), batch_size=size,
        shuffle=True,
    )  # fmt: skip


def fitted(
    net: Callable[[], nn.Module], loader: data.TensorLoader, setting: Setting, **options: Any
) -> float:
    return speed_of_fit(net(), loader, setting, lr=0.001, precision="bf16", **options)


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
