"""Where to compute: the name of a device, checked against the devices that exist."""

from itertools import chain

import torch

from ..errors import DeviceError


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
