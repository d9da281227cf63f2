"""The weights of ImageNet: fetched once, proved, and put into nets for other classes."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.models import AlexNet_Weights

import classicnets
from classicnets import create_model, imagenet_weights
from classicnets.errors import (
    CheckpointMismatchError,
    ConfigError,
    DownloadError,
    WeightsError,
)

State = dict[str, torch.Tensor]
Serve = Callable[[object], Path]


@pytest.fixture(scope="module")
def published() -> State:
    """What torchvision publishes, in form: each tensor one number, so that the file is small."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in create_model("alexnet").state_dict().items()}
    return {
        key: torch.full((1,), number / 1000).expand(shape)
        for number, (key, shape) in enumerate(shapes.items(), start=1)
    }


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Puts an object behind the address of the weights, and says where a copy will lie."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))

    def put(state: object, name: str | None = None) -> Path:
        path = tmp_path / "saved"
        torch.save(state, path)
        start = name or hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        path = path.rename(tmp_path / f"alexnet-{start}.pth")
        monkeypatch.setitem(imagenet_weights.IMAGENET, "alexnet", path.as_uri())
        return tmp_path / "home" / "hub" / "checkpoints" / path.name

    return put


def test_the_address_is_that_of_torchvision() -> None:
    assert imagenet_weights.IMAGENET["alexnet"] == AlexNet_Weights.IMAGENET1K_V1.url


def test_pictures_are_prepared_as_torchvision_says() -> None:
    ours, theirs = imagenet_weights._PREPARATION, AlexNet_Weights.IMAGENET1K_V1.transforms()
    assert [ours.image_size] == theirs.crop_size
    assert [ours.shorter_side] == theirs.resize_size
    assert (list(ours.mean), list(ours.std)) == (theirs.mean, theirs.std)


def new_layers(model: torch.nn.Module, published: State) -> set[str]:
    return {
        key
        for key, value in model.state_dict().items()
        if value.shape != published[key].shape or not torch.equal(value, published[key])
    }


def test_two_classes_get_a_new_head_and_keep_the_rest(serve: Serve, published: State) -> None:
    serve(published)
    model = create_model("alexnet", num_classes=2, pretrained=True)
    assert new_layers(model, published) == {"classifier.6.weight", "classifier.6.bias"}
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.preparation.image_size == 224


def test_a_thousand_classes_are_those_of_imagenet(serve: Serve, published: State) -> None:
    serve(published)
    assert new_layers(create_model("alexnet", pretrained=True), published) == set()


def test_other_hidden_widths_keep_what_stands_before_them(serve: Serve, published: State) -> None:
    serve(published)
    model = create_model("alexnet", num_classes=2, hidden=(4096, 512), pretrained=True)
    layers = {key.rpartition(".")[0] for key in new_layers(model, published)}
    assert layers == {"classifier.4", "classifier.6"}


def test_frozen_features_stay_as_they_are_in_training(serve: Serve, published: State) -> None:
    serve(published)
    model = create_model(
        "alexnet", num_classes=2, hidden=(16, 8), pretrained=True, freeze_features=True
    )
    batch = torch.randn(2, 3, 63, 63), torch.tensor([0, 1])
    head = model.classifier[6].weight.clone()
    classicnets.fit(model, [batch], epochs=1, progress=False, device="cpu")
    assert not any(key.startswith("features") for key in new_layers(model, published))
    assert not torch.equal(model.classifier[6].weight, head)


def test_features_that_come_with_the_library_can_be_frozen_too() -> None:
    model = create_model("lenet5", pretrained=True, freeze_features=True)
    assert not any(parameter.requires_grad for parameter in model.features.parameters())
    assert any(parameter.requires_grad for parameter in model.parameters())


def test_new_features_are_not_frozen() -> None:
    with pytest.raises(ConfigError, match="freeze_features is True, but pretrained is not; new"):
        create_model("alexnet", freeze_features=True)


def test_the_weights_are_fetched_once(serve: Serve, published: State) -> None:
    copy = serve(published)
    create_model("alexnet", hidden=(8, 8), pretrained=True)
    written = copy.stat().st_mtime_ns
    Path(imagenet_weights.IMAGENET["alexnet"].removeprefix("file://")).unlink()
    create_model("alexnet", hidden=(8, 8), pretrained=True)
    assert copy.stat().st_mtime_ns == written


def test_without_a_network_the_error_says_where_to_put_the_file(
    serve: Serve, published: State
) -> None:
    copy = serve(published)
    Path(imagenet_weights.IMAGENET["alexnet"].removeprefix("file://")).unlink()
    message = r"cannot fetch file://.*\.pth \(.*\); put that file into '.*checkpoints' yourself"
    with pytest.raises(DownloadError, match=message):
        create_model("alexnet", hidden=(8, 8), pretrained=True)
    assert not copy.exists()


def test_a_file_of_another_sha256_is_not_kept(serve: Serve, published: State) -> None:
    copy = serve(published, "00000000")  # type: ignore[call-arg]
    with pytest.raises(DownloadError, match="invalid hash value"):
        create_model("alexnet", hidden=(8, 8), pretrained=True)
    assert not copy.exists()


def test_a_copy_that_was_damaged_is_told(serve: Serve, published: State) -> None:
    copy = serve(published)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"half")
    with pytest.raises(WeightsError, match=r"has SHA-256 .*, not .*; remove it"):
        create_model("alexnet", hidden=(8, 8), pretrained=True)
    copy.unlink()
    copy.mkdir()
    with pytest.raises(WeightsError, match="cannot be read"):
        create_model("alexnet", hidden=(8, 8), pretrained=True)


def test_something_else_behind_the_address_is_told(
    serve: Serve, published: State, tmp_path: Path
) -> None:
    serve({"features.0.weight": torch.zeros(1)})
    with pytest.raises(CheckpointMismatchError, match="holds no weights of alexnet; remove it"):
        create_model("alexnet", hidden=(8, 8), pretrained=True)
    serve(Path("a program would run here"))
    with pytest.raises(WeightsError, match="cannot be read .*; remove it"):
        create_model("alexnet", hidden=(8, 8), pretrained=True)


def test_other_channels_than_those_of_imagenet_are_refused(serve: Serve, published: State) -> None:
    serve(published)
    with pytest.raises(ConfigError, match=r"features.0 has weights \(64, 1, 11, 11\), those of Im"):
        create_model("alexnet", in_channels=1, hidden=(8, 8), pretrained=True)
