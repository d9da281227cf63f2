import ctypes
import gc
import resource
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch

from classicnets import LeNet5, fit
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
        maps = [torch.ones(size << 18) for size in (4, 4, 4, 160)]  # of a MiB each
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
    kept, after = map(int, answer.stdout.split())
    assert kept < 100
    assert after > 1000, "large blocks are still kept after the block"


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


@pytest.mark.parametrize(
    "options",
    [{}, {"checkpoint_dir": "run"}, {"average": 0.9, "schedule": "cosine"}],
    ids=lambda options: "-".join(options) or "plain",
)
def test_a_net_and_its_data_are_freed_as_soon_as_nobody_holds_them(
    options, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = LeNet5()
    batches = [(torch.randn(4, 1, 32, 32), torch.arange(4))]
    held = [weakref.ref(net), weakref.ref(batches[0][0])]
    gc.disable()
    try:
        fit(net, batches, val_loader=batches, epochs=1, device="cpu", progress=False, **options)
        del net, batches
        assert [one() for one in held] == [None, None]
    finally:
        gc.enable()
