"""The drawing page in a browser, with the server and as files: what people do and see there."""

import base64
import importlib
import io
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from classicnets import create_model, data, digit_photo
from classicnets.draw_server import DrawServer
from classicnets.runs import open_run

ROOT = Path(__file__).parents[2]
SEVEN = [(0.3, 0.25), (0.5, 0.24), (0.7, 0.25), (0.6, 0.45), (0.5, 0.65), (0.45, 0.82)]
READY = "document.body && document.body.dataset.outputs"
LABEL = "document.getElementById('label').textContent"
NOTHING = f"{LABEL} == 'nothing is drawn yet'"


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with DrawServer(open_run("lenet5")) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.url
        server.shutdown()


@pytest.fixture(scope="module")
def static_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        builder: ModuleType = importlib.import_module("_build_draw")
    finally:
        sys.path.remove(str(ROOT / "docs"))
    if not builder.RUNTIME.is_file():
        pytest.skip("onnxruntime-web is not here; fetch it: python docs/_fetch_runtime.py")
    folder = tmp_path_factory.mktemp("site") / "draw"
    builder.write_page(folder)
    return (folder / "index.html").as_uri()


@pytest.fixture(params=["server", "static"])
def page(request: pytest.FixtureRequest, browser: Any) -> Any:
    """The page, open and ready, once answered by the server and once as files."""
    browser.size(1280, 900)
    browser.open(request.getfixturevalue(f"{request.param}_url"), READY)
    return browser


def field(page: Any) -> tuple[float, float, float]:
    script = "(({left, top, width}) => [left, top, width])(document.getElementById('pen')"
    left, top, width = page.run(f"{script}.getBoundingClientRect())")
    return left, top, width


def draw(page: Any, points: list[tuple[float, float]]) -> None:
    left, top, width = field(page)
    places = [(left + x * width, top + y * width) for x, y in points]
    page.mouse("Pressed", *places[0])
    for place in places[1:]:
        page.mouse("Moved", *place)
    page.mouse("Released", *places[-1])


def test_a_drawn_digit_is_read_and_every_layer_lights_up(page: Any) -> None:
    draw(page, SEVEN)
    page.wait(f"{LABEL} == '7'")
    assert page.run("[...document.querySelectorAll('.layer h3')].map(e => e.textContent)") == [
        "C1 6 maps of 28×28",
        "S2 6 maps of 14×14",
        "C3 16 maps of 10×10",
        "S4 16 maps of 5×5",
        "C5 120 units",
        "F6 84 units",
    ]
    lit = (
        "[...document.querySelectorAll('.layer canvas, #steps canvas')].map(c =>"
        "Math.max(...c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".filter((_, i) => i % 4 == 0)))"
    )
    assert min(page.run(lit)) > 100
    assert page.run("document.querySelector('.best th').textContent") == "7"
    assert page.complaints() == []


def test_nothing_is_asked_of_another_host(page: Any) -> None:
    draw(page, SEVEN)
    page.wait(f"{LABEL} == '7'")
    origin = page.run("location.protocol == 'file:' ? 'file://' : location.origin")
    asked = [url for url in page.requests() if not url.startswith(("data:", "blob:"))]
    assert asked
    assert all(url.startswith(origin) for url in asked), asked


def test_an_empty_field_gets_no_answer_and_clear_makes_it_empty_again(page: Any) -> None:
    page.wait(NOTHING)
    assert page.run("document.querySelectorAll('.best').length") == 0
    draw(page, SEVEN)
    page.wait(f"{LABEL} == '7'")
    page.run("document.getElementById('clear').click()")
    page.wait(NOTHING)
    draw(page, SEVEN)
    page.run("document.getElementById('undo').click()")
    page.wait(NOTHING)


def test_the_keyboard_alone_draws(page: Any) -> None:
    for _ in range(2):  # of the page as files the first is a link
        if page.run("document.activeElement.id") != "pen":
            page.key("Tab")
    assert page.run("document.activeElement.id") == "pen"
    assert not page.run("document.getElementById('cursor').hidden")
    page.key("ArrowUp", 9)
    page.key(" ")
    page.key("ArrowDown", 18)
    page.key(" ")
    page.key("ArrowLeft", 5)
    page.wait(f"{LABEL} == '1'")
    assert page.run("strokes.length") == 1
    page.key("Backspace")
    page.wait(NOTHING)
    page.key(" ")
    page.key("ArrowRight", 3)
    page.key("Escape")
    page.wait(NOTHING)
    assert page.run("keyboard.down") is False


def test_a_finger_draws_and_does_not_scroll(page: Any) -> None:
    page.size(390, 844)
    left, top, width = field(page)
    places = [(left + x * width, top + y * width) for x, y in SEVEN]
    page.touch("Start", places[0])
    for place in places[1:]:
        page.touch("Move", place)
    page.touch("End")
    page.wait(f"{LABEL} == '7'")
    assert page.run("scrollY") == 0


def test_a_new_size_of_the_window_keeps_the_drawing_and_nothing_overflows(
    page: Any, tmp_path: Path
) -> None:
    draw(page, SEVEN)
    page.wait(f"{LABEL} == '7'")
    for width, height in ((1280, 900), (900, 700), (390, 844), (320, 600)):
        for dark in (False, True):
            page.size(width, height, dark=dark)
            page.wait(f"innerWidth == {width}")
            page.wait(
                "document.getElementById('pen').width == "
                "Math.round(document.getElementById('pen').clientWidth * devicePixelRatio)"
            )
            assert page.run("document.documentElement.scrollWidth") == width
            picture = Image.open(io.BytesIO(page.screenshot(tmp_path / "page.png")))
            levels = np.asarray(picture.convert("L"))
            assert levels.shape[1] == width
            left, top, side = field(page)
            stroke = levels[int(top + 0.26 * side) - 3, int(left + 0.35 * side)]
            corner = levels[int(top + 0.9 * side), int(left + 0.9 * side)]
            assert (stroke, corner) == (255, 0)
    assert page.run(LABEL) == "7"


# ---- the port of the preparation, and the net in the browser


def drawings() -> Iterator[np.ndarray[Any, Any]]:
    """Strokes of many kinds, smooth at the edges, and fields that hardly hold a digit."""
    random = np.random.default_rng(0)
    for number in range(120):
        large = Image.new("L", (560, 560))
        pen = ImageDraw.Draw(large)
        width = int(random.integers(6, 60))
        for _ in range(random.integers(1, 4)):
            low, high = (0, 560) if number % 5 == 0 else (80, 480)
            points = [tuple(map(int, random.integers(low, high, 2))) for _ in range(5)]
            pen.line(points, fill=255, width=width, joint="curve")
        if number % 7 == 0:
            pen.rectangle((5, 5, 550, 550), outline=255, width=12)
        if number % 6 == 0:
            pen.ellipse((150, 60, 520, 500), outline=255, width=30)
        yield np.asarray(large.resize((140, 140), Image.Resampling.BOX))
    yield np.zeros((140, 140), np.uint8)
    yield np.full((140, 140), 255, np.uint8)
    mostly = np.full((140, 140), 255, np.uint8)
    mostly[30:100, 60:75] = 0
    yield mostly
    dot = np.zeros((140, 140), np.uint8)
    dot[70:73, 70:73] = 255
    yield dot
    faint = np.zeros((140, 140), np.uint8)
    faint[30:100, 60:75] = 18
    yield faint


def as_bytes(pictures: list[np.ndarray[Any, Any]]) -> str:
    text = base64.b64encode(b"".join(picture.tobytes() for picture in pictures)).decode()
    return f"bytes('{text}')"


def test_the_preparation_in_the_browser_is_python_s_byte_by_byte(
    browser: Any, static_url: str
) -> None:
    browser.open(static_url, "typeof digitPhoto == 'function'")
    pictures = list(drawings())
    script = (
        f"(all => Array.from({{length: {len(pictures)}}}, (_, i) => {{"
        "const found = digitPhoto(all.subarray(19600 * i, 19600 * (i + 1)), 140);"
        f"return [Array.from(found.levels), found.notes];}}))({as_bytes(pictures)})"
    )
    for picture, (levels, notes) in zip(pictures, browser.run(script), strict=True):
        photo = digit_photo(Image.fromarray(picture))
        assert notes == [*photo.notes, *photo.warnings]
        left, top, right, bottom = photo.box or (0, 0, 0, 0)
        tall = bottom - top > 2 * (right - left)  # there older versions of Pillow round otherwise
        np.testing.assert_allclose(
            np.array(levels).reshape(28, 28), np.asarray(photo.picture), rtol=0, atol=int(tall)
        )


def test_the_net_in_the_browser_agrees_with_pytorch_on_1000_test_digits(
    browser: Any, static_url: str, mnist_root: Path
) -> None:
    browser.open(static_url, READY)
    test = data.mnist(mnist_root, batch_size=1000, image_size=28, normalize="none", download=False)
    images, _ = next(iter(test.test))
    digits = list((images[:, 0] * 255).round().to(torch.uint8).numpy())
    model = create_model("lenet5", pretrained=True)
    photos = [digit_photo(Image.fromarray(digit)).picture for digit in digits]
    with torch.inference_mode():
        ours = model(torch.cat([model.preparation(photo) for photo in photos])).numpy()
    theirs = browser.run(
        "(async all => { const outputs = []; for (let i = 0; i < 1000; i++) outputs.push("
        "(await lookAt(all.subarray(784 * i, 784 * (i + 1)))).outputs);"
        f"return JSON.stringify(outputs); }})({as_bytes(digits)})"
    )
    np.testing.assert_allclose(np.array(json.loads(theirs)), ours, rtol=0, atol=1e-4)
