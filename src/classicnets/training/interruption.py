"""Ctrl-C and SIGTERM as a request to end well."""

import signal
import threading
from types import FrameType, TracebackType


class Interruption:
    """While entered, the first SIGINT or SIGTERM is a request; the second acts as ever.

    Outside the main thread Python gives no signals, and this does nothing.

    Attributes:
        asked: the name of the signal that this process got, None so far.
        received: the name of the signal to obey; the same, unless `agreed`.
        agreed: whether `received` is set from outside, once all ranks of a run know of it.
    """

    NAMES = ("SIGINT", "SIGTERM")

    def __init__(self) -> None:
        self.asked: str | None = None
        self.received: str | None = None
        self.agreed = False
        self._former: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in map(signal.Signals.__getitem__, self.NAMES):
                former = signal.getsignal(number)
                if former is not signal.SIG_IGN and former is not None:
                    self._former[number] = former
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)  # type: ignore[arg-type]
        self._former.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked is None:
            self.asked = signal.Signals(number).name
            if not self.agreed:
                self.received = self.asked
        else:
            signal.signal(number, self._former[number])  # type: ignore[arg-type]
            signal.raise_signal(number)
