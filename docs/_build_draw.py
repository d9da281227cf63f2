"""Write the drawing page as files that need no server: net and runtime lie beside it.

    python docs/_build_draw.py --fetch      fetches the runtime with npm, once
    python docs/_build_draw.py              writes docs/_generated/extra/draw/

`make docs` calls the first, and `_build_pages.py` does the second. The runtime, onnxruntime-web
(MIT licence), is proved by its SHA-512 and not kept in the repository. Where it was never fetched,
a page that says so stands in its place.
"""

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from classicnets.draw_server import describe
from classicnets.net_export import onnx_bytes
from classicnets.runs import open_run

_DOCS = Path(__file__).parent
_PAGE = _DOCS.parent / "src" / "classicnets" / "page"
_PACKAGE, _VERSION = "onnxruntime-web", "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_RUNTIME = _DOCS / "_generated" / f"{_PACKAGE}-{_VERSION}.tgz"
_ABSENT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Draw a digit</title></head>
<body><p>This copy of the documentation was built without the network, so the page is not here.
<code>make docs</code> builds it; <code>classicnets draw</code> needs no build.</p></body></html>
"""


def fetch() -> None:
    """Have npm bring the runtime, unless it is here."""
    if not _RUNTIME.is_file():
        _RUNTIME.parent.mkdir(exist_ok=True)
        if shutil.which("npm") is None:
            print("npm is not here, so the page where a digit is drawn is left out")
            return
        words = ["npm", "pack", "--silent", f"{_PACKAGE}@{_VERSION}"]
        subprocess.run(words, cwd=_RUNTIME.parent, check=True)  # noqa: S603
    _check()


def write_page(folder: Path) -> None:
    """Write the page and all it needs; the older one goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not _RUNTIME.is_file():
        (folder / "index.html").write_text(_ABSENT, encoding="utf-8")
        return
    _check()
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
    with tarfile.open(_RUNTIME) as archive:
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


def _check() -> None:
    found = base64.b64encode(hashlib.sha512(_RUNTIME.read_bytes()).digest()).decode()
    if found != _SHA512:
        sys.exit(f"{_RUNTIME} has SHA-512 {found}, not {_SHA512}; remove it and fetch it again")


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    return b"" if file is None else file.read()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _write(path: Path, **values: object) -> None:
    """A script that defines constants."""
    lines = [f"const {name} = {json.dumps(value)};\n" for name, value in values.items()]
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Fetch the runtime, or write the page."""
    if "--fetch" in sys.argv:
        fetch()
    else:
        write_page(_DOCS / "_generated" / "extra" / "draw")


if __name__ == "__main__":
    main()
