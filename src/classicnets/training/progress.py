"""What `fit` and `evaluate` show while they work: a bar in a terminal, a line in a notebook."""

import sys
import time
from types import TracebackType
from typing import Any, Protocol

from .history import EpochRecord


class _Display(Protocol):
    def show(self, text: str, done: int, total: int | None) -> None: ...
    def line(self, text: str) -> None: ...
    def close(self) -> None: ...


class Progress:
    """Shows how far an epoch is, at most ten times a second; silent where nobody looks.

    Args:
        wanted: False for silence. True shows a bar when standard error is a terminal, a line when
            this is a notebook, and nothing elsewhere.

    Attributes:
        next: the time of `time.perf_counter` from which on to show something again.
    """

    INTERVAL = 0.1  # seconds

    def __init__(self, wanted: bool) -> None:
        self._display = _display() if wanted else None
        self.next = 0.0 if self._display else float("inf")
        self._started = 0.0
        self._heading = ""
        self._total: int | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._display:
            self._display.close()

    def start(self, heading: str, total: int | None) -> None:
        """Begin a bar of `total` batches."""
        self._heading, self._total = heading, total
        self._started = time.perf_counter()

    def show(self, done: int, images: int, loss: float, accuracy: float | None) -> None:
        """Show the state after `done` batches; `images` were seen since `start`."""
        if not self._display:
            return
        now = time.perf_counter()
        self.next = now + self.INTERVAL
        speed = images / max(now - self._started, 1e-9)
        text = f"{self._heading}  {_figures(loss, accuracy)}  {speed:,.0f} images/s"
        self._display.show(text, done, self._total)

    def record(self, record: EpochRecord, epochs: int) -> None:
        """Write the line that stays of an epoch."""
        if not self._display:
            return
        text = f"epoch {record.epoch:>{len(str(epochs))}}/{epochs}  "
        text += _figures(record.train_loss, record.train_accuracy)
        if record.val_loss is not None:
            text += f"  validation {_figures(record.val_loss, record.val_accuracy)}"
        self._display.line(f"{text}  {record.images_per_second:,.0f} images/s")


def _figures(loss: float, accuracy: float | None) -> str:
    text = f"loss {loss:.4f}"
    return text if accuracy is None else f"{text}  accuracy {100 * accuracy:.2f} %"


def _display() -> _Display | None:
    if "ipykernel" in sys.modules:
        return _Notebook()
    if sys.stderr is not None and sys.stderr.isatty():
        return _Terminal()
    return None


class _Terminal:
    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._bar.add_task("", total=None)
        self._bar.start()

    def show(self, text: str, done: int, total: int | None) -> None:
        self._bar.update(self._task, description=text, completed=done, total=total, refresh=True)

    def line(self, text: str) -> None:
        self._bar.reset(self._task, total=None, description="")
        self._bar.console.print(text, highlight=False)

    def close(self) -> None:
        self._bar.stop()


class _Notebook:
    def __init__(self) -> None:
        from IPython.display import display

        self._lines: list[str] = []
        self._handle: Any = display(self._picture(""), raw=True, display_id=True)

    def _picture(self, last: str) -> dict[str, str]:
        return {"text/plain": "\n".join([*self._lines, last] if last else self._lines)}

    def show(self, text: str, done: int, total: int | None) -> None:
        share = f"  {done}/{total}" if total else f"  {done}"
        self._handle.update(self._picture(text + share), raw=True)

    def line(self, text: str) -> None:
        self._lines.append(text)
        self._handle.update(self._picture(""), raw=True)

    def close(self) -> None:
        self._handle.update(self._picture(""), raw=True)
