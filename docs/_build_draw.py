"""Write the drawing page as files that need no server: net and runtime lie beside it.

    python docs/_build_draw.py

writes docs/_generated/extra/draw/; `_build_pages.py` does so too. Where `_fetch_runtime.py` has not
brought the runtime, a page that says so stands in its place.
"""

import base64
import gzip
import json
import shutil
import tarfile
from pathlib import Path

from _fetch_runtime import RUNTIME, check

from classicnets.draw_server import describe
from classicnets.net_export import onnx_bytes
from classicnets.runs import open_run

_DOCS = Path(__file__).parent
_PAGE = _DOCS.parent / "src" / "classicnets" / "page"
_ABSENT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Draw a digit</title></head>
<body><p>This copy of the documentation was built without the network, so the page is not here.
<code>make docs</code> builds it; <code>classicnets draw</code> needs no build.</p></body></html>
"""


def write_page(folder: Path) -> None:
    """Write the page and all it needs; the older one goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not RUNTIME.is_file():
        (folder / "index.html").write_text(_ABSENT, encoding="utf-8")
        return
    check()
    run = open_run("lenet5")
    for path in (_PAGE / "page.css", _PAGE / "page.js", *(_DOCS / "_draw").glob("*.js")):
        shutil.copy(path, folder)
    html = (_PAGE / "index.html").read_text(encoding="utf-8")
    look = '<script src="look.js"></script>'
    html = html.replace(look, f'<script src="prepare.js"></script>\n{look}')
    back = '<p class="soft">All of it happens in your browser. <a href="../draw.html">About</a></p>'
    html = html.replace("</header>", f"{back}\n</header>")
    (folder / "index.html").write_text(html, encoding="utf-8")
    _write(folder / "net.js", NET=describe(run))
    _write(folder / "model.js", MODEL=_base64(onnx_bytes(run.model, layers=True)))
    with tarfile.open(RUNTIME) as archive:
        part = "package/dist/ort-wasm-simd-threaded"
        packed = gzip.compress(_member(archive, f"{part}.wasm"), mtime=0)
        _write(
            folder / "runtime.js",
            RUNTIME=_base64(packed),
            GLUE=_base64(_member(archive, f"{part}.mjs")),
        )
        (folder / "ort.wasm.min.js").write_bytes(
            _member(archive, "package/dist/ort.wasm.min.js").partition(b"//# sourceMappingURL")[0]
        )


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    return b"" if file is None else file.read()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _write(path: Path, **values: object) -> None:
    """A script that defines constants."""
    lines = [f"const {name} = {json.dumps(value)};\n" for name, value in values.items()]
    path.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write_page(_DOCS / "_generated" / "extra" / "draw")
