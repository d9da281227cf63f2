"""A headless Chromium, spoken to through a pair of pipes."""

import base64
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Page:
    """One tab: the DevTools protocol over `--remote-debugging-pipe`, messages ending in a 0."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        words = ["--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"]
        words += ["--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}"]
        log = os.open(profile / "log", os.O_WRONLY | os.O_CREAT)
        self._process = os.posix_spawn(
            CHROMIUM,
            [CHROMIUM, *words, "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, theirs_in, 103),  # off 3 and 4 first, which may be in use
                (os.POSIX_SPAWN_DUP2, theirs_out, 104),
                (os.POSIX_SPAWN_DUP2, 103, 3),
                (os.POSIX_SPAWN_DUP2, 104, 4),
            ],
            setpgroup=0,
        )
        for descriptor in (theirs_in, theirs_out, log):
            os.close(descriptor)
        self._read, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        (target,) = [
            t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"
        ]
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come first are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        rest = memoryview(json.dumps(message).encode() + b"\0")
        while rest:
            rest = rest[os.write(self._out, rest) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + 60
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            self._read += os.read(self._in, 1 << 20)
        line, _, self._read = self._read.partition(b"\0")
        return json.loads(line)

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str, ready: str = "document.readyState == 'complete'") -> None:
        """Go to a page and wait until it is ready."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait(ready)

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Return when an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"location.href != 'about:blank' && Boolean({condition})"):
            assert time.monotonic() < end, f"never {condition}"
            time.sleep(0.02)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a window of that size, a phone below 600 pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> bytes:
        """The whole page as PNG."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(picture))
        return path.read_bytes()

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Press, move or release the left button at a place of the window."""
        buttons = 0 if kind == "Released" else 1
        self.call(
            "Input.dispatchMouseEvent",
            type=f"mouse{kind}",
            x=x,
            y=y,
            button="left",
            buttons=buttons,
            clickCount=1,
        )

    def touch(self, kind: str, *places: tuple[float, float]) -> None:
        """Start, move or end a touch."""
        points = [{"x": x, "y": y} for x, y in places]
        self.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)

    def key(self, key: str, times: int = 1) -> None:
        """Press a key so many times."""
        text = {"text": " "} if key == " " else {}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def complaints(self) -> list[str]:
        """What the console would show as errors or warnings since the page was opened."""
        self.run("0")
        wrong = []
        for event in self.events:
            values = event.get("params", {})
            entry = values.get("entry", {})
            if event.get("method") == "Runtime.exceptionThrown":
                wrong.append(str(values["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded" and entry["level"] in ("error", "warning"):
                wrong.append(entry["text"])
            if event.get("method") == "Runtime.consoleAPICalled" and values["type"] == "error":
                wrong.append(str(values["args"]))
        return wrong

    def requests(self) -> list[str]:
        """The addresses that this page has asked for; one before it may still ask."""
        here = self.run("location.href.split('#')[0]")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
            and event["params"]["documentURL"].split("#")[0] == here
        ]

    def close(self) -> None:
        """End the browser and its children."""
        os.close(self._out)
        os.close(self._in)
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A headless Chromium; a machine without one skips."""
    if CHROMIUM is None or sys.platform == "win32":
        pytest.skip("no chromium, chromium-browser or google-chrome is found")
    page = Page(tmp_path_factory.mktemp("chromium"))
    yield page
    page.close()
