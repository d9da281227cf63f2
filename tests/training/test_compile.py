import shutil

import pytest
import torch
from torch import nn

from classicnets import fit
from classicnets.errors import ConfigError
from classicnets.training import devices

DATA = [(torch.randn(16, 4, generator=torch.Generator().manual_seed(3)), torch.arange(16) % 3)] * 3


def a_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a compiler")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_net_learns_the_same_within_rounding() -> None:
    plain, compiled = a_net(), a_net()
    for model, wanted in ((plain, False), (compiled, True)):
        fit(model, DATA, epochs=2, optimizer="sgd", compile=wanted, device="cpu", progress=False)
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())


def test_without_a_compiler_compile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"compile is True, but no C\+\+ compiler is found"):
        fit(a_net(), DATA, compile=True, device="cpu", progress=False)
