"""A net exported gives PyTorch's answers in other programs, and says how to prepare pictures."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from classicnets import LeNet1, LeNet5, LeNet5Paper, create_model, data, export, load_weights
from classicnets.cli import main
from classicnets.errors import ConfigError, StorageError
from classicnets.preparation import Preparation
from classicnets.runs import Run


@pytest.fixture(scope="module")
def lenet5() -> torch.nn.Module:
    return create_model("lenet5", pretrained=True)


@pytest.fixture(scope="module")
def onnx_file(lenet5: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "new" / "lenet5.onnx"
    export(lenet5, path, classes="0123456789", layers=True)
    return path


@torch.no_grad()
def test_onnx_agrees_with_pytorch_on_test_digits_in_batches_of_any_size(
    lenet5: torch.nn.Module, onnx_file: Path, mnist_root: Path
) -> None:
    test = data.mnist(mnist_root, batch_size=1000, download=False).test
    images = next(iter(test))[0]
    session = onnxruntime.InferenceSession(onnx_file)
    ours = lenet5(images).numpy()
    for batch in (images, images[:1]):
        theirs = session.run(["logits"], {"images": batch.numpy()})[0]
        np.testing.assert_allclose(theirs, ours[: len(batch)], rtol=0, atol=1e-4)


@torch.no_grad()
def test_onnx_gives_what_each_layer_gives(lenet5: torch.nn.Module, onnx_file: Path) -> None:
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(onnx_file)
    names = [output.name for output in session.get_outputs()]
    assert names == ["logits", "c1", "s2", "c3", "s4", "c5", "f6"]
    given = dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))
    features, classifier = lenet5.features, lenet5.classifier
    np.testing.assert_allclose(given["s2"], features[:3](images), rtol=0, atol=1e-5)
    np.testing.assert_allclose(given["s4"], features(images), rtol=0, atol=1e-5)
    hidden = classifier[:4](features(images).flatten(1))
    np.testing.assert_allclose(given["f6"], hidden, rtol=0, atol=1e-5)


def test_the_preparation_and_the_classes_stand_in_the_metadata(
    lenet5: torch.nn.Module, onnx_file: Path
) -> None:
    metadata = onnxruntime.InferenceSession(onnx_file).get_modelmeta().custom_metadata_map
    assert Preparation.from_dict(json.loads(metadata["preparation"])) == lenet5.preparation
    assert json.loads(metadata["classes"]) == list("0123456789")
    assert metadata["net"] == "LeNet5"


@torch.no_grad()
def test_a_program_of_torch_gives_the_same_bits_and_bears_the_preparation(
    lenet5: torch.nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "lenet5.pt2"
    export(lenet5, path)
    extra = {"preparation": "", "classes": ""}
    program = torch.export.load(path, extra_files=extra).module()
    images = torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(program(images), lenet5(images))
    assert Preparation.from_dict(json.loads(extra["preparation"])) == lenet5.preparation
    assert [file.name for file in tmp_path.iterdir()] == ["lenet5.pt2"]


def test_safetensors_holds_weights_that_load_and_the_preparation(
    lenet5: torch.nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "lenet5.safetensors"
    export(lenet5, path)
    twin = LeNet5()
    load_weights(twin, path)
    assert torch.equal(twin.classifier.f6.weight, lenet5.classifier.f6.weight)
    assert json.dumps(lenet5.preparation.to_dict()).replace('"', '\\"').encode() in (
        path.read_bytes()
    )


def test_the_net_stays_as_it_was(tmp_path: Path) -> None:
    net = LeNet1().train()
    export(net, tmp_path / "lenet1.pt2")
    assert net.training
    assert all(weight.requires_grad for weight in net.parameters())


def test_export_refuses_what_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.onnx, \.pt2, \.safetensors; rename it"):
        export(LeNet5Paper(), tmp_path / "net.pth")
    with pytest.raises(ConfigError, match="layers is given for pt2; only ONNX has them"):
        export(LeNet5Paper(), tmp_path / "net.pt2", layers=True)
    with pytest.raises(ConfigError, match="Linear has no input_shape; set it, for instance"):
        export(torch.nn.Linear(3, 2), tmp_path / "net.pt2")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="choose a folder that takes files"):
        export(LeNet1(), tmp_path / "file" / "net.pt2")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(StorageError, match=r"folder.safetensors': it is a folder; give the name"):
        export(LeNet1(), tmp_path / "folder.safetensors")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs onnx and onnxscript; pip install onnx onnxs"):
        export(LeNet5Paper(), tmp_path / "net.onnx")


def test_the_command_exports_a_run_and_names_the_file_by_it(
    digits_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(digits_run.path), "--format", "safetensors"]) == 0
    assert capsys.readouterr().out == "lenet5.safetensors\n"
    load_weights(LeNet5(), "lenet5.safetensors")
    assert main(["export", "lenet5", "--format", "pt2", "-o", "net.onnx"]) == 2
    assert "-o net.onnx does not end in .pt2, the --format" in capsys.readouterr().err
