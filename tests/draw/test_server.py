"""The server of the drawing page: right answers to its own page, short ones to anybody else."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from classicnets import LeNet5Paper, create_model, data, digit_photo
from classicnets.cli import main
from classicnets.draw_server import SIDES, DrawServer, describe, look
from classicnets.errors import ConfigError, StorageError
from classicnets.preparation import Preparation
from classicnets.runs import Run, open_run

OCTETS = "application/octet-stream"
BLANK = bytes(28 * 28)


@pytest.fixture(scope="module")
def server() -> Iterator[DrawServer]:
    with serving(DrawServer(open_run("lenet5"))) as running:
        yield running


@contextlib.contextmanager
def serving(server: DrawServer) -> Iterator[DrawServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(
    server: DrawServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> SimpleNamespace:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named = {"Content-Type": OCTETS, **named}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return SimpleNamespace(status=answer.status, headers=answer.headers, content=content)


def raw(server: DrawServer, text: bytes) -> bytes:
    """Send bytes and read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(text)
        found = b""
        with contextlib.suppress(OSError):
            while part := connection.recv(65536):
                found += part
        return found


def request(server: DrawServer, *lines: str, body: bytes = b"", post: bool = True) -> bytes:
    head = ["POST /look HTTP/1.1" if post else "GET / HTTP/1.1", *lines]
    head.insert(1, f"Host: 127.0.0.1:{server.server_port}")
    return "\r\n".join([*head, "", ""]).encode() + body


def is_healthy(server: DrawServer) -> bool:
    begun = time.monotonic()
    answer = ask(server, "POST", "/look", BLANK)
    return answer.status == 200 and time.monotonic() - begun < 5


def test_the_answers_to_1000_test_digits_are_pytorchs_to_1e_4(
    server: DrawServer, mnist_root: Path
) -> None:
    model = create_model("lenet5", pretrained=True)
    test = data.mnist(mnist_root, batch_size=1000, image_size=28, normalize="none", download=False)
    images, _ = next(iter(test.test))
    levels = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    prepared = torch.cat([model.preparation(Image.fromarray(digit)) for digit in levels])
    with torch.inference_mode():
        ours = model(prepared).numpy()
    theirs = [json.loads(server.look(digit.tobytes()))["outputs"] for digit in levels[:-20]]
    theirs += [
        json.loads(ask(server, "POST", "/look", digit.tobytes()).content)["outputs"]
        for digit in levels[-20:]
    ]
    same = [digit_photo(Image.fromarray(digit)).notes == ("taken as it is",) for digit in levels]
    assert sum(same) >= 990
    np.testing.assert_allclose(np.array(theirs)[same], ours[same], rtol=0, atol=1e-4)


def test_a_drawing_is_prepared_as_predict_prepares_it_and_each_layer_is_shown() -> None:
    run = open_run("lenet5")
    pixels = np.zeros((140, 140), np.uint8)
    pixels[20:110, 60:72] = 255
    seen = look(run, Image.fromarray(pixels))
    photo = digit_photo(Image.fromarray(pixels))
    with torch.inference_mode():
        ours = run.model(run.model.preparation(photo.picture))[0]
    np.testing.assert_allclose(seen["outputs"], ours, rtol=0, atol=1e-5)
    found, given = seen["steps"]
    assert base64.b64decode(found["levels"]) == photo.picture.tobytes()
    middle = np.frombuffer(base64.b64decode(given["levels"]), np.uint8).reshape(32, 32)[2:30, 2:30]
    assert middle.tobytes() == photo.picture.tobytes()
    shapes = {layer["name"]: layer["shape"] for layer in seen["layers"]}
    assert shapes == {
        "c1": [6, 28, 28],
        "s2": [6, 14, 14],
        "c3": [16, 10, 10],
        "s4": [16, 5, 5],
        "c5": [120, 1, 1],
        "f6": [84, 1, 1],
    }
    for layer in seen["layers"]:
        levels = np.frombuffer(base64.b64decode(layer["levels"]), np.uint8)
        assert len(levels) == np.prod(layer["shape"])
        assert (levels.min(), levels.max()) == (0, 255)


def test_a_run_of_digits_that_fill_their_pictures_gets_the_drawing_cropped(
    digits_run: Run,
) -> None:
    assert not describe(digits_run)["searched"]
    pictures = [Image.new("L", (84, 84)) for _ in range(2)]
    for picture, corner in zip(pictures, ((10, 4), (40, 50)), strict=True):
        picture.paste(255, (*corner, corner[0] + 6, corner[1] + 24))
    seen = [look(digits_run, picture) for picture in pictures]
    assert [step["side"] for step in seen[0]["steps"]] == [24, 32]
    assert seen[0]["outputs"] == seen[1]["outputs"]  # wherever it is drawn
    assert len(look(digits_run, Image.new("L", (84, 84)))["outputs"]) == 10


def test_a_run_of_other_pictures_gets_the_drawing_whole(digits_run: Run) -> None:
    metrics = {**digits_run.metrics, "data": {**digits_run.metrics["data"], "name": "other"}}
    run = Run(digits_run.path, digits_run.model, digits_run.history, metrics)
    picture = Image.fromarray(np.full((84, 84), 255, np.uint8))
    assert [step["side"] for step in look(run, picture)["steps"]] == [32]


def test_of_the_paper_s_net_the_page_gets_the_codes_and_the_distances(digits_run: Run) -> None:
    model = LeNet5Paper()
    model.preparation = Preparation(28, steps=(("pad", 32),))  # type: ignore[assignment]
    run = Run(digits_run.path, model, digits_run.history, digits_run.metrics)
    codes = describe(run)["codes"]
    assert np.array(codes).shape == (10, 84)
    assert {value for code in codes for value in code} == {-1, 1}
    assert max(look(run, Image.new("L", (28, 28)))["outputs"]) <= 0


def test_the_page_and_its_files_are_served_and_nothing_else(server: DrawServer) -> None:
    for path in ("/", "/index.html", "/page.css", "/page.js", "/look.js", "/net.js"):
        answer = ask(server, "GET", path)
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "classicnets"
        assert ask(server, "HEAD", path).content == b""
    for path in (
        "/../draw_server.py",
        "/%2e%2e/draw_server.py",
        "//etc/passwd",
        "/page/",
        "/report.css",
        "/page.js?x",
        "/page.js\\..",
        f"http://127.0.0.1:{server.server_port}/",
        "/" + "a" * 10_000,
    ):
        assert ask(server, "GET", path).status == 404, path


HOSTILE = {
    "negative length": (["Content-Length: -1", f"Content-Type: {OCTETS}"], 400),
    "length in words": (["Content-Length: many", f"Content-Type: {OCTETS}"], 400),
    "length with a sign": (["Content-Length: +784", f"Content-Type: {OCTETS}"], 400),
    "length of other digits": (
        ["Content-Length: \u0667\u0668\u0664", f"Content-Type: {OCTETS}"],
        400,
    ),
    "huge length": (["Content-Length: 99999999999999999999", f"Content-Type: {OCTETS}"], 413),
    "10 MB": (["Content-Length: 10000000", f"Content-Type: {OCTETS}"], 413),
    "two lengths": (
        ["Content-Length: 784", "Content-Length: 785", f"Content-Type: {OCTETS}"],
        411,
    ),
    "no length": ([f"Content-Type: {OCTETS}"], 411),
    "chunks": (["Transfer-Encoding: chunked", f"Content-Type: {OCTETS}"], 411),
    "chunks and a length": (
        ["Transfer-Encoding: chunked", "Content-Length: 784", f"Content-Type: {OCTETS}"],
        411,
    ),
    "not square": (["Content-Length: 785", f"Content-Type: {OCTETS}"], 400),
    "too small": (["Content-Length: 0", f"Content-Type: {OCTETS}"], 400),
    "garbage JSON": (["Content-Length: 784", "Content-Type: application/json"], 415),
    "a form of another site": (
        ["Content-Length: 784", "Content-Type: text/plain", "Origin: http://evil.example"],
        403,
    ),
    "no kind": (["Content-Length: 784"], 415),
    "another origin": (["Content-Length: 784", "Origin: http://evil.example"], 403),
    "origin null": (["Content-Length: 784", "Origin: null"], 403),
    "a second host": (["Host: evil.example"], 403),
    "many headers": ([f"X-{number}: 1" for number in range(200)], 431),
    "a long header": (["X: " + "a" * 100_000], 431),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_in_a_line_that_repeats_nothing(
    name: str, server: DrawServer
) -> None:
    lines, status = HOSTILE[name]
    answer = raw(server, request(server, *lines, body=b"{" * 784))
    assert answer.startswith(f"HTTP/1.0 {status} ".encode()), answer[:200]
    _, _, body = answer.partition(b"\r\n\r\n")
    assert list(json.loads(body)) == ["error"]
    for secret in (b"evil", b"Traceback", b"/home", b".py", b"Python"):
        assert secret not in answer
    assert is_healthy(server)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\n\r\n", 403),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"PUT /look HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"<script>alert(1)</script>\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_of_the_page_gets_a_status_and_no_more(
    line: bytes, status: int, server: DrawServer
) -> None:
    answer = raw(server, line)
    assert f" {status} ".encode() in answer or b'{"error"' in answer, answer[:200]
    assert b"alert" not in answer
    assert is_healthy(server)


def test_a_picture_that_ends_early_is_refused(server: DrawServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        lines = ["Content-Length: 784", f"Content-Type: {OCTETS}"]
        connection.sendall(request(server, *lines, body=b"\0" * 10))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.0 400 ")


def test_slow_and_many_clients_do_not_keep_the_page_from_answering(server: DrawServer) -> None:
    threads = threading.active_count()
    with contextlib.ExitStack() as slow:
        for number in range(150):
            connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=20)
            slow.enter_context(connection)
            with contextlib.suppress(OSError):
                connection.sendall(b"POST /look HTTP/1.1\r\nHost: x\r\nX" if number % 2 else b"G")
        assert is_healthy(server)
        begun = time.monotonic()
        while threading.active_count() - threads > 66:
            assert time.monotonic() - begun < 5
            time.sleep(0.05)


def test_a_client_that_drips_is_closed(server: DrawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classicnets.draw_server._LONGEST", 0.3)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 20:
                connection.sendall(b"G")
                connection.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        break
        assert time.monotonic() - begun < 10


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_a_thousand_requests_leave_no_descriptor_and_no_memory(server: DrawServer) -> None:
    def ask_many(count: int) -> tuple[int, int]:
        for _ in range(count):
            assert ask(server, "GET", "/look.js").status == 200
            raw(server, request(server, "Content-Length: -1"))
        time.sleep(0.2)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE")  # noqa: PTH208

    descriptors, memory = ask_many(20)
    after, grown = ask_many(500)
    assert after <= descriptors
    assert grown - memory < 50e6


def test_it_listens_on_the_loopback_address_alone(server: DrawServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    other = socket.gethostbyname(socket.gethostname())
    if other.startswith("127."):
        pytest.skip("the machine has no other address")
    with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
        socket.create_connection((other, server.server_port), timeout=2)


def test_a_net_or_a_port_that_cannot_be_is_refused(
    server: DrawServer, digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", "lenet5", "--no-browser", "--port", str(server.server_port)]) == 5
    assert "cannot be had" in capsys.readouterr().err
    with pytest.raises(StorageError, match="choose another with --port, or 0 for any"):
        DrawServer(open_run("lenet5"), 70_000)
    model = create_model("lenet5", in_channels=3)
    model.preparation = Preparation(32, 3)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="takes colour; give a run on grey pictures"):
        DrawServer(Run(digits_run.path, model, digits_run.history, digits_run.metrics))
    assert SIDES[0] == 28


def test_the_command_says_where_the_page_is_and_ends_well_on_ctrl_c() -> None:
    code = "import sys; from classicnets.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-u", "-c", code, "draw", "--no-browser"]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("draw at http://127.0.0.1:")
        assert line.endswith("/ (Ctrl-C stops it)\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == "stopped\n"
