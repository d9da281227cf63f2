"""Fetch what runs a net in a browser: onnxruntime-web (MIT licence), by npm, once.

    python docs/_fetch_runtime.py

It needs nothing but Python and npm, so that it can run before anything is installed. The package is
proved by its SHA-512 and not kept in the repository. Where it cannot be had, that is said, and the
site is built without the page where a digit is drawn.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_PACKAGE, _VERSION = "onnxruntime-web", "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME = Path(__file__).parent / "_generated" / f"{_PACKAGE}-{_VERSION}.tgz"


def fetch() -> None:
    """Have npm bring the runtime, unless it is here."""
    if not RUNTIME.is_file():
        reason = "npm is not here" if shutil.which("npm") is None else _brought()
        if reason:
            print(f"{reason}, so the page where a digit is drawn is left out, and its tests skip")
            return
    check()


def _brought() -> str:
    """Why npm could not bring it, or nothing."""
    RUNTIME.parent.mkdir(exist_ok=True)
    words = ["npm", "pack", "--silent", f"{_PACKAGE}@{_VERSION}"]
    done = subprocess.run(words, cwd=RUNTIME.parent, stdout=subprocess.DEVNULL)  # noqa: S603
    return f"npm cannot bring {_PACKAGE} {_VERSION}" if done.returncode else ""


def check() -> None:
    """End unless the fetched file is the known one."""
    found = base64.b64encode(hashlib.sha512(RUNTIME.read_bytes()).digest()).decode()
    if found != _SHA512:
        sys.exit(f"{RUNTIME} has SHA-512 {found}, not {_SHA512}; remove it and fetch it again")


if __name__ == "__main__":
    fetch()
