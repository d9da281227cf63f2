"""The exceptions of classicnets: one small tree, each also a builtin that strangers catch."""

from typing import Any


class ClassicNetsError(Exception):
    """Root of all errors raised on purpose by classicnets."""


class ConfigError(ClassicNetsError, ValueError):
    """An argument, option or input shape that cannot work."""


class DeviceError(ConfigError):
    """A device that does not exist on this machine."""


class DataError(ClassicNetsError, ValueError):
    """Data that are malformed: a broken file, a label outside the classes, an empty loader."""


class WeightsError(ClassicNetsError, ValueError):
    """A weights file that is malformed, hostile or of the wrong kind."""


class CheckpointMismatchError(WeightsError):
    """Weights or a checkpoint that belong to another net or another run."""


class CheckpointCorruptError(WeightsError):
    """A checkpoint whose files do not match their recorded SHA-256."""


class StorageError(ClassicNetsError, OSError):
    """A folder or disk that cannot take what has to be written."""


class RunLockedError(StorageError):
    """A run folder that another living process is writing to."""


class DownloadError(ClassicNetsError, OSError):
    """A file that could not be fetched, or that came with the wrong SHA-256."""


class DivergedError(ClassicNetsError, RuntimeError):
    """A training run whose loss or gradients became NaN or infinite.

    Attributes:
        history: the `History` up to then.
    """

    history: Any = None


class OutOfMemoryError(ClassicNetsError, RuntimeError):
    """A batch that does not fit into the memory of its device."""


class WorkerDiedError(ClassicNetsError, RuntimeError):
    """A loader's worker process that was killed or stopped answering."""


class RankFailedError(ClassicNetsError, RuntimeError):
    """A process of a distributed run that died."""
