"""Checkpoints on disk: whole or absent, proved by SHA-256, free of pickle.

A checkpoint is a folder:

    step_00001234/
        state.safetensors   tensors
        state.json          the rest
        SHA256SUMS          of both, as `sha256sum -c` reads it

It is built under a temporary name, synced, and given its own by one rename, so that a process
killed at any moment leaves either the whole checkpoint or something that nobody takes for one.
"""

import hashlib
import itertools
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from torch import Tensor

from ..errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    ConfigError,
    StorageError,
    WeightsError,
)
from . import tensor_files
from .run_lock import RunLock, is_alive
from .safe_files import (
    discard,
    open_to_read,
    storage_error,
    sync_and_close,
    sync_folder,
    temporary_path,
    write_file,
)

_FORMAT = 1
_TENSORS, _STATE, _SUMS = "state.safetensors", "state.json", "SHA256SUMS"
_NAME = re.compile(r"step_([0-9]{8,})(?:-([0-9]+))?")
_TEMPORARY = re.compile(r"\.tmp-([0-9]+)-[0-9a-f]{16}")
_NOT_OURS = (ValueError, LookupError, TypeError, RecursionError)  # of JSON with other content


@dataclass(frozen=True)
class Checkpoint:
    """What was saved, as it was saved; tuples in `state` have become lists.

    Attributes:
        path: the folder it was read from.
        step: the step it was saved at.
        best: whether it was the best when it was saved.
        tensors: by name, on the CPU.
        state: the rest.
    """

    path: Path
    step: int
    best: bool
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Skipped(NamedTuple):
    """A checkpoint passed over."""

    path: Path
    reason: str


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint's folder, nothing of which is used unless its SHA-256 sums hold.

    Raises:
        CheckpointCorruptError: a file is missing, damaged or not what the sums say.
        CheckpointMismatchError: a newer classicnets wrote it.
    """
    path = Path(path)
    try:
        with open_to_read(path / _STATE) as file:
            text = file.read()
        with open_to_read(path / _TENSORS) as file:
            header = tensor_files.read_header(file)
            digest = hashlib.sha256(header.raw)
            tensors = tensor_files.read_tensors(file, header, digest)
        with open_to_read(path / _SUMS) as file:
            sums = file.read(1000)
    except (OSError, WeightsError) as error:
        raise _corrupt(path, str(error)) from error
    if sums != _sums(text, digest.hexdigest()):
        raise _corrupt(path, f"its files are not those of its {_SUMS}")
    try:
        content = json.loads(text)
        if content["format"] == _FORMAT:
            return Checkpoint(path, content["step"], content["best"], tensors, content["state"])
    except _NOT_OURS as error:
        raise _corrupt(path, f"{_STATE} is not of classicnets ({error!r:.100})") from error
    raise CheckpointMismatchError(
        f"checkpoint {str(path)!r} has format {content['format']!r:.20}, and this classicnets "
        f"reads {_FORMAT}; use the version that wrote it or a later one"
    )


class CheckpointStore:
    """The checkpoints of one run in one folder.

    Reading needs nothing; to save, enter it as a context: that makes the folder, takes its lock,
    clears what a killed process left unfinished, and finds out early what would keep a save from
    working.

    Args:
        folder: where they are; missing folders are made.
        keep: how many of the newest to keep. The best one stays besides.
    """

    def __init__(self, folder: str | Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise ConfigError(f"keep is {keep}, and must be at least 1; 2 survives a damaged one")
        self.folder = Path(folder)
        self._keep = keep
        self._lock = RunLock(self.folder)
        self._kept: set[Path] = set()  # whatever their age: the best, and the unreadable
        self._passed_over: set[Path] = set()

    def open(self) -> Self:
        """Make ready for `save`.

        Raises:
            RunLockedError: another process saves here; the message names it.
            StorageError: the folder cannot be made or written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._clear()
            trial = temporary_path(self.folder)
            trial.mkdir()
            trial.rmdir()
            self._survey()
        except (OSError, ValueError) as error:
            self.close()
            if isinstance(error, StorageError):
                raise
            raise storage_error(self.folder, 0, error) from error
        return self

    def close(self) -> None:
        """Give the folder free."""
        with suppress(OSError):
            self._lock.release()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        *,
        best: bool = False,
    ) -> Path:
        """Save a checkpoint and remove those it makes superfluous; returns its folder.

        It has reached the disk when this returns. Saved again at one step, the later one counts.

        Args:
            step: how far the run is, from 0; not before a whole checkpoint that is there already.
            tensors: any dense tensors, on any device.
            state: JSON with strings as keys. Floats and integers come back exactly; not-a-number
                and the infinities stand as NaN, Infinity and -Infinity, which Python reads.
            best: this is the best so far. It is kept until a better one is saved.

        Raises:
            ConfigError: an argument cannot be saved, or the store is not open in this process.
            StorageError: the disk cannot take it; the message says how much room it needs. The
                checkpoints before it stay whole.
        """
        if not self._lock.held:
            raise ConfigError("this store is not open in this process; use it in a with statement")
        if type(step) is not int or step < 0:
            raise ConfigError(f"step is {step!r}, and must be a whole number from 0")
        parts = tensor_files.encode(tensors)
        text = _state_text({"format": _FORMAT, "step": step, "best": best, "state": state})
        num_bytes = len(text) + sum(map(len, parts))
        try:
            self._refuse_later(step)
            path = self._free_path(step)
            self._commit(path, parts, text)
        except OSError as error:
            raise storage_error(self.folder / f"step_{step:08d}", num_bytes, error) from error
        self._passed_over.discard(path)
        self._kept = {path} if best else self._kept - {path}
        self._prune(path)
        return path

    def newest(self) -> tuple[Checkpoint | None, list[Skipped]]:
        """Return the newest whole checkpoint, and those passed over as broken, with the reason."""
        return self._newest(best=False)

    def best(self) -> Checkpoint | None:
        """Return the checkpoint that was saved last as the best."""
        return self._newest(best=True)[0]

    def _newest(self, *, best: bool) -> tuple[Checkpoint | None, list[Skipped]]:
        skipped: list[Skipped] = []
        for path in reversed(self._paths()):
            try:
                if not best or _says_best(path):
                    return read_checkpoint(path), skipped
            except WeightsError as error:
                if not path.exists():  # superseded by a newer one since it was listed
                    return self._newest(best=best)
                skipped.append(Skipped(path, str(error)))
                self._passed_over.add(path)
        return None, skipped

    def _survey(self) -> None:
        """Note which checkpoints are broken, and which are to be kept whatever their age."""
        self._kept, self._passed_over = set(), set()
        for path in self._paths():
            try:
                if read_checkpoint(path).best:
                    self._kept = {path}
            except WeightsError as error:
                self._passed_over.add(path)
                if isinstance(error.__cause__, OSError):
                    self._kept.add(path)

    def _paths(self) -> list[Path]:
        """Return the folders that look like checkpoints, oldest first."""
        try:
            with os.scandir(self.folder) as entries:
                paths = [
                    self.folder / entry.name
                    for entry in entries
                    if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(paths, key=_order)

    def _free_path(self, step: int) -> Path:
        revisions = [_order(path)[1] for path in self._paths() if _order(path)[0] == step]
        for revision in itertools.count(max(revisions, default=0) + 1):
            suffix = f"-{revision}" if revision > 1 else ""
            path = self.folder / f"step_{step:08d}{suffix}"
            if not os.path.lexists(path):
                break
        return path

    def _refuse_later(self, step: int) -> None:
        """Raise if a whole checkpoint of a later step is there, which would pass for the newest."""
        for path in self._paths():
            if _order(path)[0] > step and path not in self._passed_over:
                with suppress(CheckpointCorruptError):
                    read_checkpoint(path)
                    raise ConfigError(
                        f"step is {step}, and {str(path)!r} is there already, saved by a run that "
                        "went further; resume that run or choose another folder"
                    )

    def _commit(self, path: Path, parts: list[bytes | memoryview], text: bytes) -> None:
        temporary = temporary_path(self.folder)
        try:
            temporary.mkdir()
            with ThreadPoolExecutor(4) as side:  # the disk syncs three files in the time of one
                digest = side.submit(_digest, parts)
                syncs = [side.submit(sync_and_close, write_file(temporary / _TENSORS, parts))]
                for name, part in ((_STATE, text), (_SUMS, _sums(text, digest.result()))):
                    descriptor = write_file(temporary / name, [part])
                    syncs.append(side.submit(sync_and_close, descriptor))
            for sync in syncs:
                sync.result()
            sync_folder(temporary)
            os.rename(temporary, path)  # noqa: PTH104
        except BaseException:
            discard(temporary)
            raise
        sync_folder(self.folder)

    def _prune(self, newest: Path) -> None:
        """Remove what neither counts among the newest nor is the best."""
        try:
            paths = self._paths()
            last_of_step = {
                _order(path)[0]: path
                for path in paths
                if _order(path) <= _order(newest) and path not in self._passed_over
            }
            kept = {*list(last_of_step.values())[-self._keep :], *self._kept}
            for path in paths:
                if path not in kept:
                    temporary = temporary_path(self.folder)
                    os.rename(path, temporary)  # noqa: PTH104
                    discard(temporary)
        except OSError as error:
            warnings.warn(f"an old checkpoint could not be removed: {error}", stacklevel=3)

    def _clear(self) -> None:
        """Remove what processes that have died left unfinished."""
        for path in self.folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match and (int(match[1]) == os.getpid() or not is_alive(int(match[1]))):
                discard(path)


def _order(path: Path) -> tuple[int, int]:
    match = _NAME.fullmatch(path.name)
    return (int(match[1]), int(match[2] or 1)) if match else (-1, 0)


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _sums(text: bytes, tensors_digest: str) -> bytes:
    return f"{hashlib.sha256(text).hexdigest()}  {_STATE}\n{tensors_digest}  {_TENSORS}\n".encode()


def _says_best(path: Path) -> bool:
    """Whether a checkpoint, whole or not, was saved as the best."""
    try:
        with open_to_read(path / _STATE) as file:
            return bool(json.load(file)["best"])
    except (OSError, *_NOT_OURS) as error:
        raise _corrupt(path, str(error)) from error


def _state_text(content: dict[str, Any]) -> bytes:
    _check_keys(content["state"], "state")
    try:
        return json.dumps(content, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"state cannot be saved as JSON: {error}; give numbers, strings, lists and dicts"
        ) from error


def _check_keys(value: Any, where: str) -> None:
    """Raise if JSON would turn a key into a string."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{where} has the key {key!r}, and must have strings as keys")
            _check_keys(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, dict | list | tuple):
                _check_keys(item, f"{where}[{index}]")


def _corrupt(path: Path, reason: str) -> CheckpointCorruptError:
    return CheckpointCorruptError(
        f"checkpoint {str(path)!r} is not whole: {reason}; go on from an earlier one"
    )
