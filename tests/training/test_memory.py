import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from classicnets.training.memory import _glibc, freed_memory_kept

needs_glibc = pytest.mark.skipif(_glibc() is None, reason="needs glibc")

FAULTS = """
import resource, sys, torch
from contextlib import nullcontext
from classicnets.training.memory import freed_memory_kept
torch.set_num_threads(1)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        maps = [torch.ones(1 << 20) for _ in range(8)]
        del maps
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with freed_memory_kept():
    faults()
    print(faults())
torch.ones(1 << 20)
print(faults())
"""


@needs_glibc
def test_no_page_is_asked_for_again_while_freed_memory_is_kept() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    kept, _ = map(int, answer.stdout.split())
    assert kept < 100


@needs_glibc
def test_kept_memory_goes_back_to_the_system_at_the_end() -> None:
    def resident() -> int:
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    with freed_memory_kept():
        maps = [torch.ones(1 << 20) for _ in range(64)]
        filled = resident()
        del maps
    assert resident() < filled - 128 * 2**20


def test_a_system_without_glibc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with freed_memory_kept():
        assert _glibc() is None
