import pytest
import torch

from classicnets import LeNet5, LeNet5Paper, create_model, fit, load
from classicnets.errors import CheckpointMismatchError, ConfigError, DataError
from classicnets.pretrained import read_metrics


def test_create_model_builds_the_net_of_that_name_with_its_options():
    net = create_model("lenet5", num_classes=3, pooling="max")
    assert type(net) is LeNet5
    assert net.options["num_classes"] == 3
    assert net.options["pooling"] == "max"


def test_create_model_refuses_an_unknown_name():
    with pytest.raises(ConfigError, match=r"name is 'lenet9', did you mean 'lenet5'\?"):
        create_model("lenet9")


def test_create_model_refuses_an_unknown_option_and_lists_the_known():
    with pytest.raises(ConfigError, match=r"depth is no option of lecture_cnn, which takes num_cl"):
        create_model("lecture_cnn", depth=3)
    with pytest.raises(ConfigError, match=r"depth is no option of lenet1, which takes init"):
        create_model("lenet1", depth=3)


@pytest.mark.parametrize(
    ("made", "message"), [(True, "has no metrics.json, so it is no run"), (False, "is no folder")]
)
def test_what_is_no_run_is_told_apart_from_what_is_not_there(tmp_path, made, message):
    folder = tmp_path / "run"
    if made:
        folder.mkdir()
    with pytest.raises(DataError, match=f"{message}; give a folder that .* .nets whose weights"):
        read_metrics(folder)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The folder of the checkpoints of a short run, and the net as it ended."""
    folder = tmp_path_factory.mktemp("checkpoints")
    net = LeNet5(4, activation="relu")
    batch = torch.rand(8, 1, 32, 32), torch.arange(8) % 4
    fit(net, [batch], epochs=2, progress=False, checkpoint_dir=folder)
    return folder, net


def same_weights(one, two):
    names = one.state_dict().keys()
    return names == two.state_dict().keys() and all(
        one.state_dict()[name].equal(two.state_dict()[name]) for name in names
    )


def test_load_rebuilds_the_net_of_a_checkpoint_with_its_options(checkpoints):
    folder, net = checkpoints
    for path in (folder, folder / "step_00000002"):
        found = load(path)
        assert type(found) is LeNet5
        assert found.options == net.options
        assert same_weights(found, net)
        assert not found.training


def test_load_takes_a_module_of_ones_own(checkpoints):
    folder, net = checkpoints
    mine = LeNet5(4, activation="relu")
    assert load(folder, model=mine) is mine
    assert same_weights(mine, net)


def test_load_into_another_net_changes_none_of_it(checkpoints):
    folder, _ = checkpoints
    other = LeNet5Paper()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointMismatchError, match="does not fit LeNet5Paper"):
        load(folder, model=other)
    assert all(value.equal(before[name]) for name, value in other.state_dict().items())


def test_load_of_a_net_that_is_not_ours_asks_for_it(tmp_path):
    class Mine(torch.nn.Linear):
        pass

    fit(
        Mine(3, 2),
        [(torch.rand(4, 3), torch.tensor([0, 1, 0, 1]))],
        epochs=1,
        progress=False,
        checkpoint_dir=tmp_path,
    )
    with pytest.raises(ConfigError, match="holds a Mine, which is no net of this library; give"):
        load(tmp_path)
    assert load(tmp_path, model=Mine(3, 2)).out_features == 2


def test_load_of_a_folder_with_nothing_in_it_says_what_it_takes(tmp_path):
    with pytest.raises(DataError, match="neither metrics.json nor a whole checkpoint"):
        load(tmp_path)
