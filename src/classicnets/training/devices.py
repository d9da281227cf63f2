"""Where to compute: the name of a device, checked against the devices that exist."""

import os
import shutil
from itertools import chain

import torch

from ..errors import ConfigError, DeviceError


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device named, "auto" being cuda, then mps, then cpu.

    Raises:
        DeviceError: the name is unknown or the device does not exist here; the message lists those
            that do.
    """
    existing = _existing_devices()
    if device == "auto":
        return torch.device(existing[-1] if len(existing) == 1 else existing[1])
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(_message(device, existing)) from error
    if str(resolved) not in (*existing, "cuda", "meta") or (
        resolved.type == "cuda" and not torch.cuda.is_available()
    ):
        raise DeviceError(_message(device, existing))
    if resolved == torch.device("cuda"):
        return torch.device("cuda", torch.cuda.current_device())
    return resolved


def device_of(module: torch.nn.Module) -> torch.device:
    """Return the device of a module's first parameter or buffer, cpu when it has none."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def dtype_of(module: torch.nn.Module) -> torch.dtype | None:
    """Return the type of a module's first floating parameter, None when it has none."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), None)


def compiled(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Return a module that runs as `torch.compile` makes it.

    Raises:
        ConfigError: it is to run on a CPU, and there is no C++ compiler.
    """
    compilers = os.environ.get("CXX"), "g++", "clang++", "cl"
    if device.type == "cpu" and not any(name and shutil.which(name) for name in compilers):
        raise ConfigError(
            "compile is True, but no C++ compiler is found (CXX, g++, clang++, cl); "
            "install one, or leave compile out: on a CPU these nets gain nothing by it"
        )
    return torch.compile(module)  # type: ignore[return-value]


def _existing_devices() -> list[str]:
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _message(device: object, existing: list[str]) -> str:
    return (
        f"device is {device!r}, which does not exist here; this machine has "
        f"{', '.join(existing)}; choose one of these or 'auto'"
    )
