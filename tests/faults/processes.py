"""Children forked off a process that has torch imported already, and may be killed."""

import json
import mmap
import os
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any


class Child:
    """A forked child that runs a function and reports what it returns, as JSON.

    Attributes:
        notes: a few numbers shared with the child, in memory that survives it.
    """

    def __init__(self, function: Callable[["Notes"], Any]) -> None:
        self.notes = Notes()
        self._reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reader)
            _run(function, self.notes, writer)
        os.close(writer)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def result(self, seconds: float = 60.0) -> Any:
        """Return what the function returned, None if the child was killed.

        Raises:
            RuntimeError: the function raised.
            TimeoutError: it took longer than allowed, and was killed.
        """
        data = b""
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self._reader], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                self.kill()
                os.waitpid(self.pid, 0)
                os.close(self._reader)
                raise TimeoutError(f"the child was not done after {seconds} s")
            chunk = os.read(self._reader, 1 << 16)
            if not chunk:
                break
            data += chunk
        os.close(self._reader)
        os.waitpid(self.pid, 0)
        if not data:
            return None
        answer = json.loads(data)
        if "error" in answer:
            raise RuntimeError(f"in the child: {answer['error'][-350:]}")
        return answer["value"]


class Notes:
    """Numbers that a parent and its children share: `notes[name]` and `notes[name] = number`."""

    _NAMES = ("inside", "phase", "begun", "done", "ready", "sent", "ended")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * len(self._NAMES))

    def __getitem__(self, name: str) -> int:
        return struct.unpack_from("q", self._memory, 8 * self._NAMES.index(name))[0]

    def __setitem__(self, name: str, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * self._NAMES.index(name), value)

    def wait_for(self, name: str, seconds: float = 20.0) -> bool:
        """Wait until a number is no longer 0; False if it always was, or the child's work ended."""
        deadline = time.monotonic() + seconds
        while not self[name]:
            if self["ended"] or time.monotonic() > deadline:
                return bool(self[name])
            time.sleep(0)
        return True


def in_child(function: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what a function returns in a child of its own."""
    return Child(lambda _: function()).result(seconds)


def _run(function: Callable[[Notes], Any], notes: Notes, writer: int) -> None:
    try:
        try:
            answer = {"value": function(notes)}
        except BaseException as error:
            answer = {"error": "".join(traceback.format_exception(error)[-3:])}
        notes["ended"] = 1
        data = json.dumps(answer).encode()
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)
