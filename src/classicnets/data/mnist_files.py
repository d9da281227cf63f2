"""Data sets that come as MNIST does: four IDX files, found on disk or fetched and proved.

The layout is torchvision's, `<root>/<folder>/raw/train-images-idx3-ubyte` and so on, so that both
libraries share one folder. Its downloader fetches; what it brings is used only if its SHA-256 is
the one written here. Files that lie there already are held against their own headers.
"""

import gzip
import hashlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import Tensor

from classicnets.errors import ConfigError, DataError, DownloadError, StorageError
from classicnets.preparation import Preparation

from .idx import read_idx
from .splits import SplitOptions, Splits, make_splits, normalization

_SIZE = 28  # of all pictures that come in this form
# (image_size, digit_size) -> how 28x28 pictures become that
_STEPS: dict[tuple[int, int | None], tuple[tuple[str, int], ...]] = {
    (32, None): (("pad", 32),),
    (28, None): (),
    (16, None): (("area", 16),),
    (28, 16): (("area", 16), ("pad", 28)),
}


@dataclass(frozen=True)
class MnistFiles:
    """What tells one data set in MNIST's form from another.

    Args:
        name: the function that loads it.
        folder: where torchvision has it below the root.
        classes: the names of the classes.
        mean: of the training pictures, of pixels in 0..1.
        std: likewise.
        mirrors: torchvision's, tried in their order.
        sha256: of each file as it is fetched: its name with ".gz" -> the sum.
    """

    name: str
    folder: str
    classes: tuple[str, ...]
    mean: float
    std: float
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]

    def splits(
        self,
        root: str | os.PathLike[str] | None,
        options: SplitOptions,
        device: torch.device | str,
        download: bool,
    ) -> Splits:
        """The loaders of the data set, its files found or fetched."""
        mean, std = normalization(options.normalize, self.mean, self.std)
        chosen = (options.image_size, options.digit_size)
        if chosen not in _STEPS:
            raise ConfigError(
                f"image_size is {chosen[0]} and digit_size {chosen[1]}; {self.name} has "
                + ", ".join(f"{image} and {digit}" for image, digit in _STEPS)
            )
        preparation = Preparation(_SIZE, steps=_STEPS[chosen], mean=mean, std=std)
        files = self.find(root, download)
        return make_splits(
            self.name,
            self.classes,
            preparation,
            options,
            _read_part(files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"]),
            _read_part(files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"]),
            device,
        )

    def find(self, root: str | os.PathLike[str] | None, download: bool) -> dict[str, Path]:
        """The path of each of the four files, raw or compressed, after fetching what is missing."""
        folder = self._raw_folder(root)
        if self._missing(folder):
            if not download:
                raise DataError(
                    self._lacking(folder, "fetching them is forbidden (download=False)")
                )
            self._fetch(folder)
        return {name.removesuffix(".gz"): path for name, path in self._present(folder).items()}

    def _raw_folder(self, root: str | os.PathLike[str] | None) -> Path:
        base = Path(root or os.environ.get("CLASSICNETS_DATA") or _cache_folder()).expanduser()
        folder = base / self.folder / "raw"
        # the raw folder itself, if named: the files of all such data sets have the same names
        return base if root and not self._present(folder) and self._present(base) else folder

    def _present(self, folder: Path) -> dict[str, Path]:
        paths = {}
        for name in self.sha256:
            for path in (folder / name.removesuffix(".gz"), folder / name):
                if name not in paths and path.is_file():
                    paths[name] = path
        return paths

    def _missing(self, folder: Path) -> list[str]:
        return [name for name in self.sha256 if name not in self._present(folder)]

    def _lacking(self, folder: Path, reason: str) -> str:
        files = [f"\n  {name}  SHA-256 {self.sha256[name]}" for name in self._missing(folder)]
        return (
            f"{folder} lacks {len(files)} of the {len(self.sha256)} files of {self.name}: {reason}."
            "\nPut these there, as they are or unpacked, or name another folder by root=:"
            + "".join(files)
        )

    def _fetch(self, folder: Path) -> None:
        if reason := self._offline():
            raise DownloadError(self._lacking(folder, reason))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as aside:
                for name in self._missing(folder):
                    packed = Path(aside, name)
                    if failures := self._fetch_file(packed):
                        reason = "\n  ".join((f"{name} could not be fetched:", *failures))
                        raise DownloadError(self._lacking(folder, reason))
                    unpacked = packed.with_suffix("")
                    with gzip.open(packed) as source, unpacked.open("wb") as target:
                        shutil.copyfileobj(source, target)
                    unpacked.replace(folder / unpacked.name)
        except DownloadError:
            raise
        except OSError as error:
            raise StorageError(
                f"{folder} cannot take the files of {self.name} ({error}); name another folder by "
                "root= or CLASSICNETS_DATA"
            ) from error

    def _offline(self) -> str | None:
        """Why nothing can be fetched, found before torchvision is loaded, which takes seconds."""
        if os.environ.get("CLASSICNETS_OFFLINE", "0") not in ("", "0"):
            return "CLASSICNETS_OFFLINE forbids fetching them"
        if {"http", "https"} & getproxies().keys():
            return None  # the proxy looks up the mirrors
        hosts = [urlsplit(mirror).hostname for mirror in self.mirrors]
        for host in hosts:
            try:
                socket.getaddrinfo(host, None)
            except OSError:
                continue
            return None
        return f"offline, it seems: no address is known for {', '.join(map(str, hosts))}"

    def _fetch_file(self, path: Path) -> list[str]:
        """Fetch the file of that name from the first mirror that has it; else why from none."""
        from torchvision.datasets.utils import download_url

        failures = []
        for mirror in self.mirrors:
            url = mirror + path.name
            path.unlink(missing_ok=True)  # the downloader takes a file that lies there for fetched
            try:
                download_url(url, str(path.parent), path.name)
            except (OSError, RuntimeError, ValueError, HTTPException) as error:
                failures.append(f"{url}: {error}")
                continue
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found == self.sha256[path.name]:
                return []
            failures.append(f"{url}: SHA-256 is {found}, expected {self.sha256[path.name]}")
        return failures


def _read_part(images_path: Path, labels_path: Path) -> tuple[Tensor, Tensor]:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (_SIZE, _SIZE):
        height, width = images.shape[1:]
        raise DataError(f"{images_path} has pictures of {height}x{width}, expected {_SIZE}x{_SIZE}")
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} pictures, {labels_path} has {len(labels)} labels; "
            "expected one for each"
        )
    return images.unsqueeze(1), labels.long()


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local") / "classicnets"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "classicnets"
