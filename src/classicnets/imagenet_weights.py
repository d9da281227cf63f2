"""The ImageNet weights that torchvision publishes, fetched when first asked for.

They lie where torch.hub puts them, so that torchvision and this library share one file.
"""

import hashlib
import pickle
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from .errors import CheckpointMismatchError, ConfigError, DownloadError, WeightsError
from .preparation import Preparation

__all__ = ["IMAGENET", "load_imagenet"]

# name of the net -> where its weights are; the name of the file ends in its SHA-256's first digits
IMAGENET = {"alexnet": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"}

_PREPARATION = Preparation(
    224, channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), shorter_side=256
)


def load_imagenet(model: nn.Module, name: str) -> nn.Module:
    """Give a net the weights of ImageNet, from its first layer to the first of another shape.

    From there on it keeps its own, new weights: with other classes that is the last layer alone,
    with other `hidden` widths a hidden layer and those behind it. The net is then in evaluation
    mode and bears its `preparation`.

    Args:
        model: a net of that name.
        name: of the net, one of `IMAGENET`.

    Raises:
        ConfigError: the features themselves have another shape.
        DownloadError: the weights cannot be fetched.
        WeightsError: the file is damaged, or holds something else.
    """
    path = _fetched(IMAGENET[name])
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(f"{str(path)!r} cannot be read ({error!s:.100}); remove it") from error
    own = model.state_dict()
    if not isinstance(found, dict) or list(found) != list(own):
        raise CheckpointMismatchError(f"{str(path)!r} holds no weights of {name}; remove it")
    kept: dict[str, Tensor] = {}
    for layer in dict.fromkeys(key.rpartition(".")[0] for key in own):
        keys = [f"{layer}.weight", f"{layer}.bias"]
        if any(found[key].shape != own[key].shape for key in keys):
            if layer.startswith("features"):
                raise ConfigError(
                    f"{layer} has weights {tuple(own[keys[0]].shape)}, those of ImageNet are "
                    f"{tuple(found[keys[0]].shape)}; leave in_channels out, or pretrained"
                )
            break
        kept.update((key, found[key]) for key in keys)
    model.load_state_dict(kept, strict=False)
    model.preparation = _PREPARATION  # type: ignore[assignment]
    return model.eval()


def _fetched(url: str) -> Path:
    """The file of that address, which is fetched if it is not there; its SHA-256 is proved."""
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
    start = path.stem.rpartition("-")[2]
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), start, progress=False)
        except (OSError, RuntimeError) as error:  # the second for a wrong SHA-256
            raise DownloadError(
                f"cannot fetch {url} ({error}); put that file into {str(path.parent)!r} yourself, "
                "or give pretrained=False"
            ) from error
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if not digest.startswith(start):
        raise WeightsError(f"{str(path)!r} has SHA-256 {digest}, not {start}...; remove it")
    return path
