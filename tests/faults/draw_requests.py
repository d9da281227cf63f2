"""Very many requests to the page where a digit is drawn: what its server holds must not grow."""

import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from classicnets.draw_server import DrawServer
from classicnets.runs import open_run

from .processes import Child, Notes
from .rows import row

_MOST_GROWTH = 50e6  # bytes
_WARM_UP = 100  # requests: what is made once is made
_SETTLED = 12.0  # seconds in which the server ends the last connections
_OCTETS = "Content-Type: application/octet-stream"
_PICTURE = bytes(28 * 28)

# what each kind of request sends after its host, its body, and the status it must get; None where
# the client is gone before an answer
_KINDS: dict[str, tuple[str, Sequence[str], bytes, int | None]] = {
    "page": ("GET / HTTP/1.1", (), b"", 200),
    "file": ("GET /page.js HTTP/1.1", (), b"", 200),
    "picture": ("POST /look HTTP/1.1", ("Content-Length: 784", _OCTETS), _PICTURE, 200),
    "negative length": ("POST /look HTTP/1.1", ("Content-Length: -1", _OCTETS), _PICTURE, 400),
    "huge length": ("POST /look HTTP/1.1", ("Content-Length: 9" + 30 * "9", _OCTETS), b"", 413),
    "chunks": ("POST /look HTTP/1.1", ("Transfer-Encoding: chunked", _OCTETS), _PICTURE, 411),
    "form": (
        "POST /look HTTP/1.1",
        ("Content-Length: 4", "Content-Type: text/plain"),
        b"a=b&",
        415,
    ),
    "other origin": ("GET / HTTP/1.1", ("Origin: http://evil.example",), b"", 403),
    "other host": ("GET / HTTP/1.1", ("Host: evil.example",), b"", 403),
    "path": ("GET /../draw_server.py HTTP/1.1", (), b"", 404),
    "no method": ("BREW / HTTP/1.1", (), b"", 501),
    "cut off": ("POST /look HTTP/1.1", ("Content-Length: 784", _OCTETS), b"\0", None),
    "silent": ("", (), b"", None),
}


@dataclass
class _Held:
    """What a process holds."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> "_Held":
        descriptors, threads = (len(os.listdir(f"/proc/{pid}/{kind}")) for kind in ("fd", "task"))  # noqa: PTH208
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(descriptors, threads, pages * os.sysconf("SC_PAGESIZE"))


def requests(count: int, rng: random.Random, *, leak: int = 0) -> tuple[_Held, _Held]:
    """What a server holds before and after so many requests; where told, it loses descriptors."""

    def serve(notes: Notes) -> None:
        with DrawServer(open_run("lenet5")) as server:
            answer, asked = server.look, 0

            def lose_some(levels: bytes) -> bytes:
                nonlocal asked
                asked += 1
                if leak and asked % leak == 0:
                    os.dup(1)
                return answer(levels)

            server.look = lose_some  # type: ignore[method-assign]
            notes["ready"] = server.server_port
            server.serve_forever(0.05)

    server = Child(serve)
    try:
        assert server.notes.wait_for("ready", 60), "the server did not start"
        port = server.notes["ready"]
        for _ in range(_WARM_UP):
            _ask(port, rng)
        time.sleep(1)
        before = _Held.of(server.pid)
        for _ in range(count):
            _ask(port, rng)
        begun = time.monotonic()
        _ask(port, rng, "picture")
        assert time.monotonic() - begun < 1, "the page answers too slowly afterwards"
        return before, _settled(server.pid, before, 1 if leak else _SETTLED)
    finally:
        server.kill()
        with contextlib.suppress(RuntimeError):
            server.result()


def _ask(port: int, rng: random.Random, kind: str | None = None) -> None:
    kind = kind or rng.choice(list(_KINDS))
    line, headers, body, status = _KINDS[kind]
    lines = [line, f"Host: 127.0.0.1:{port}", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        if line:
            connection.sendall("\r\n".join(lines).encode() + body)
        if status is None:  # gone with a reset, as a browser that is killed
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return
        found = b""
        with contextlib.suppress(ConnectionError):  # of what it refuses it reads no body
            while part := connection.recv(1 << 16):
                found += part
    assert found.startswith(b"HTTP/1.0 %d " % status), f"{kind}: {found[:60]!r}"


def _settled(pid: int, before: _Held, seconds: float) -> _Held:
    """What is held once it is no more than before, or after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        held = _Held.of(pid)
        none_more = held.descriptors <= before.descriptors and held.threads <= before.threads
        if none_more or time.monotonic() > end:
            return held
        time.sleep(0.1)


def _tier(full: bool) -> Sequence[int]:
    return [10_000 if full else 300]


@row("S1", "requests to the drawing page, honest, hostile and cut off", _tier)
def nothing_held(count: int, rng: random.Random, folder: Path) -> tuple[int, int]:
    before, after = requests(count, rng)
    assert after.descriptors == before.descriptors, f"{after}, before {before}"
    assert after.threads == before.threads, f"{after}, before {before}"
    assert after.memory - before.memory < _MOST_GROWTH, f"{after}, before {before}"
    return count, count


@row("S1 leak", "control: a descriptor lost at every fifth drawing", _tier)
def descriptor_leak(count: int, rng: random.Random, folder: Path) -> bool:
    before, after = requests(min(count, 300), rng, leak=5)
    assert after.descriptors > before.descriptors, f"lost descriptors were not seen: {after}"
    return True
