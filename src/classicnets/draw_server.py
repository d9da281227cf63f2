"""A page on this machine where a digit is drawn and every layer of a net lights up.

The server listens on the loopback address alone and takes one kind of request beside its few files:
a square picture as raw bytes. It reads no path from a request, parses no body, and holds no
connection for longer than some seconds.
"""

import base64
import json
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import ConfigError, StorageError
from .layers import RBFOutput
from .photo import digit_photo
from .plots.stages import stages_of
from .runs import Run

__all__ = ["DrawServer", "describe", "look"]

SIDES = (28, 512)  # smallest and largest side of a picture, in pixels
_LONGEST = 10.0  # seconds that a connection may last
_MOST = 64  # connections at once; of more, the oldest is closed
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
_PAGE = Path(__file__).with_name("page")


def describe(run: Run) -> dict[str, Any]:
    """What the page has to know of a net before anything is drawn, ready for JSON.

    Raises:
        ConfigError: the net does not take one grey picture.
    """
    preparation: Any = run.model.preparation
    if preparation.channels != 1:
        raise ConfigError(
            f"{type(run.model).__name__} of this run takes colour; give a run on grey pictures, "
            "such as digits or mnist"
        )
    *_, output = run.model.modules()
    codes = output.codes.int().tolist() if isinstance(output, RBFOutput) else None
    test = run.metrics["result"]["test"]
    return {
        "net": type(run.model).__name__,
        "data": run.metrics["data"]["name"],
        "accuracy": test["accuracy"],
        "count": test["count"],
        "classes": list(run.classes),
        "preparation": preparation.to_dict(),
        "searched": _is_searched(run),
        "codes": codes,
    }


def look(run: Run, picture: Image.Image) -> dict[str, Any]:
    """What the net makes of a picture, light on dark: each step and each layer, ready for JSON.

    Levels are bytes in base64, of a layer from its lowest value (0) to its highest (255); outputs
    are the net's own numbers.
    """
    preparation: Any = run.model.preparation
    steps, notes = [], ["taken whole, for the net was not trained on MNIST"]
    if run.metrics["data"]["name"] == "digits":
        picture, notes = (
            _filled(picture),
            ["cropped, for the digits of its data fill their pictures"],
        )
        steps.append(("cropped", picture))
    elif _is_searched(run):
        photo = digit_photo(picture)
        picture, notes = photo.picture, [*photo.notes, *photo.warnings]
        steps.append(("found, scaled, centred", picture))
    images = preparation(picture)
    place = next(run.model.parameters()).device
    *stages, output = stages_of(run.model, images.to(place))
    scale, shift = preparation.scale_and_shift()
    seen = ((images[0] - shift) / scale).round().clamp(0, 255).to(torch.uint8)[0]
    steps.append((f"what the net gets, {len(seen)}x{len(seen)}", Image.fromarray(seen.numpy())))
    return {
        "notes": notes,
        "steps": [
            {"name": name, "side": step.width, "levels": _base64(np.asarray(step))}
            for name, step in steps
        ],
        "layers": [_layer(stage.name, stage.output[0]) for stage in stages],
        "outputs": output.output[0].tolist(),
    }


def _filled(picture: Image.Image) -> Image.Image:
    """The drawing alone, in the middle of the smallest square that holds it."""
    box = picture.getbbox()
    if box is None:
        return picture
    drawing = picture.crop(box)
    side = max(drawing.size)
    square = Image.new("L", (side, side))
    square.paste(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2))
    return square


def _is_searched(run: Run) -> bool:
    """Whether `predict` looks for a digit in pictures for this net."""
    return bool(run.metrics["data"]["name"] == "mnist")


def _layer(name: str, output: Tensor) -> dict[str, Any]:
    values = output.float().cpu().numpy()
    low, high = float(values.min()), float(values.max())
    levels = ((values - low) * (255 / ((high - low) or 1))).round().astype(np.uint8)
    shape = [*values.shape, 1, 1][:3]
    return {"name": name, "shape": shape, "low": low, "high": high, "levels": _base64(levels)}


def _base64(levels: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(levels.tobytes()).decode()


class DrawServer(ThreadingHTTPServer):
    """The page of one net, served on 127.0.0.1 until `shutdown`.

    Args:
        run: as `open_run` gives it.
        port: where; 0 for any that is free.

    Raises:
        ConfigError: the net does not take one grey picture.
        StorageError: the port is taken.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_port = False

    def __init__(self, run: Run, port: int = 0) -> None:
        self.files = _files(describe(run))
        self._run, self._turn, self._guard = run, threading.Lock(), threading.Lock()
        self._since: dict[socket.socket, float] = {}
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise StorageError(
                f"port {port} cannot be had ({error}); choose another with --port, or 0 for any"
            ) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/"

    def look(self, levels: bytes) -> bytes:
        """What the net makes of a square of grey levels, one picture at a time, as JSON."""
        side = isqrt(len(levels))
        picture = Image.frombytes("L", (side, side), levels)
        with self._turn:
            return json.dumps(look(self._run, picture)).encode()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note since when a connection is open; past the most there may be, close the oldest."""
        with self._guard:
            self._since[request] = time.monotonic()
            if len(self._since) > _MOST:
                oldest = min(self._since, key=self._since.__getitem__)
                del self._since[oldest]
                _cut(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        with self._guard:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close what has been open for too long; called twice a second."""
        with self._guard:
            for request, since in self._since.items():
                if time.monotonic() - since > _LONGEST:
                    _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


def _cut(request: socket.socket) -> None:
    with suppress(OSError):  # it may have gone by itself
        request.shutdown(socket.SHUT_RDWR)


def _files(facts: Mapping[str, Any]) -> dict[str, tuple[str, bytes]]:
    """All that can be asked for: path -> kind and content."""
    files = {
        f"/{path.name}": (_KINDS[path.suffix], path.read_bytes())
        for path in _PAGE.iterdir()
        if path.suffix in _KINDS and path.stem != "report"
    }
    net = f"const NET = {json.dumps(facts)};\n".encode()
    return {**files, "/": files["/index.html"], "/net.js": ("text/javascript", net)}


class _Handler(BaseHTTPRequestHandler):
    """One request a connection; whatever is wrong with it is answered in one line of JSON."""

    server: DrawServer
    timeout = 5  # seconds without a byte

    def do_GET(self) -> None:
        if self._is_foreign():
            return
        kind, content = self.server.files.get(self.path, ("", b""))
        if not kind:
            self._refuse(404, "there is no such page")
            return
        self._answer(200, f"{kind}; charset=utf-8", content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self._is_foreign():
            return
        if self.path != "/look":
            self._refuse(404, "there is no such page")
            return
        if self.headers.get_all("Content-Type") != ["application/octet-stream"]:
            self._refuse(415, "send the grey levels of a picture as application/octet-stream")
            return
        lengths = self.headers.get_all("Content-Length", [])
        if self.headers.get("Transfer-Encoding") or len(lengths) != 1:
            self._refuse(411, "say the length of the picture once, in Content-Length")
            return
        low, high = SIDES
        text = lengths[0]
        if not (text.isascii() and text.isdecimal()):
            self._refuse(400, "Content-Length is no number")
            return
        if len(text) > 9 or int(text) > high**2:
            self._refuse(413, f"a picture has at most {high}x{high} bytes")
            return
        count = int(text)
        if count < low**2 or isqrt(count) ** 2 != count:
            self._refuse(400, f"a picture is square, {low}x{low} to {high}x{high} bytes")
            return
        levels = self.rfile.read(count)
        if len(levels) < count:
            self._refuse(400, "the picture ended early")
            return
        self._answer(200, "application/json", self.server.look(levels))

    def _is_foreign(self) -> bool:
        """Refuse what another site had a browser send here, or a name that leads here (DNS)."""
        port = self.server.server_port
        own = {f"127.0.0.1:{port}", f"localhost:{port}"}
        hosts = self.headers.get_all("Host", [])
        origins = self.headers.get_all("Origin", [])
        strange = len(hosts) != 1 or hosts[0].lower() not in own
        if strange or any(origin.removeprefix("http://") not in own for origin in origins):
            self._refuse(403, "this page is for the browser of this machine")
            return True
        return False

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": f"{_POLICY}; img-src data:",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: Any = None) -> None:
        """Answer what the parser refuses, and repeat nothing of it."""
        self._refuse(code, self.responses.get(code, ("error", ""))[0])

    def _refuse(self, status: int, words: str) -> None:
        self.close_connection = True
        self._answer(status, "application/json", json.dumps({"error": words}).encode())

    def version_string(self) -> str:
        """Name no versions."""
        return "classicnets"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: the terminal says where the page is and how to stop it."""
