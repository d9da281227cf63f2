"""What the tests of nets share: facts of a net's layers, found without computing anything."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import nn


class Facts(NamedTuple):
    """One layer: its output shape, its parameters and its connections."""

    shape: tuple[int, ...]
    parameters: int
    connections: int


@pytest.fixture(scope="session")
def layer_facts() -> Callable[..., dict[str, Facts]]:
    """A function from a class and its options to the facts of each layer, by its last name."""

    def facts(
        build: Callable[..., nn.Module], *args: object, **options: object
    ) -> dict[str, Facts]:
        found: dict[str, Facts] = {}

        def record(name: str) -> Callable[..., None]:
            def hook(layer: nn.Module, _: object, output: torch.Tensor) -> None:
                _, _, *size = output.shape
                places = torch.Size(size).numel()
                parameters = sum(p.numel() for p in layer.parameters())
                connections = (
                    layer.connections(tuple(size) or (1, 1))
                    if hasattr(layer, "connections")
                    else places * parameters
                )
                found[name] = Facts(tuple(output.shape[1:]), parameters, connections)

            return hook

        with torch.device("meta"):
            net = build(*args, **options)
            for part in (net.features, net.classifier):
                for name, layer in part.named_children():
                    key = name if part is net.features or not name.isdigit() else f"fc{name}"
                    layer.register_forward_hook(record(key))
            net(torch.zeros(1, *net.input_shape))
        return found

    return facts
