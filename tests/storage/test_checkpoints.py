import errno
import hashlib
import json
import math
import os
import resource
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file

from classicnets.errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    ConfigError,
    RunLockedError,
    StorageError,
)
from classicnets.storage.checkpoints import CheckpointStore, read_checkpoint


def tensors_of(step):
    return {"w": torch.full((50, 20), float(step)), "random": torch.arange(8, dtype=torch.uint8)}


def save(store, step, **options):
    return store.save(step, tensors_of(step), {"step": step}, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def flip(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.fixture
def store(tmp_path):
    with CheckpointStore(tmp_path / "run") as store:
        yield store


# what is saved comes back


def test_a_checkpoint_comes_back_as_it_was_saved(store):
    path = save(store, 7, best=True)
    checkpoint, skipped = store.newest()
    assert skipped == []
    assert (checkpoint.path, checkpoint.step, checkpoint.best) == (path, 7, True)
    assert checkpoint.state == {"step": 7}
    assert checkpoint.tensors.keys() == {"w", "random"}
    assert all(checkpoint.tensors[name].equal(value) for name, value in tensors_of(7).items())


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float64], ids=str
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (0, 5)])
def test_any_type_and_shape_comes_back(store, dtype, shape):
    value = torch.randint(0, 2, shape).to(dtype)
    store.save(1, {"x": value}, {})
    found = store.newest()[0].tensors["x"]
    assert found.dtype == dtype
    assert found.equal(value)


def test_views_shared_memory_and_gradients_come_back_as_values(store):
    base = torch.arange(12.0).reshape(3, 4)
    parameter = torch.nn.Parameter(base.clone())
    store.save(1, {"turned": base.T, "row": base[1], "whole": base, "p": parameter}, {})
    found = store.newest()[0].tensors
    assert found["turned"].equal(base.T)
    assert found["row"].equal(base[1])
    assert found["whole"].equal(base)
    assert found["p"].equal(base)
    found["row"].zero_()
    assert found["whole"].equal(base)


def test_numbers_of_the_state_come_back_exactly(store):
    state = {
        "floats": [0.1, 1e-320, -0.0, 1.7976931348623157e308, math.inf, -math.inf],
        "nan": math.nan,
        "integers": [2**200, -1, True, None],
        "texts": ["\ud800", "é", "\0"],
        "nested": {"a": [{"b": []}]},
    }
    store.save(1, {}, state)
    found = store.newest()[0].state
    assert math.isnan(found.pop("nan"))
    assert found == {key: value for key, value in state.items() if key != "nan"}
    assert str(found["floats"][2]) == "-0.0"


def test_tuples_come_back_as_lists(store):
    store.save(1, {}, {"betas": (0.9, 0.999)})
    assert store.newest()[0].state == {"betas": [0.9, 0.999]}


def test_other_tools_read_a_checkpoint(store):
    path = save(store, 3)
    assert load_file(path / "state.safetensors")["w"].equal(tensors_of(3)["w"])
    assert json.loads((path / "state.json").read_text())["state"] == {"step": 3}
    assert names(path) == ["SHA256SUMS", "state.json", "state.safetensors"]
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    check = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=path, capture_output=True)
    assert check.returncode == 0, check.stderr


def test_reading_needs_neither_lock_nor_folder(store, tmp_path):
    save(store, 1)
    assert CheckpointStore(tmp_path / "run").newest()[0].step == 1
    assert CheckpointStore(tmp_path / "nowhere").newest() == (None, [])
    assert CheckpointStore(tmp_path / "nowhere").best() is None


# which are kept


def test_the_two_newest_are_kept_and_the_best_besides(store):
    for step in range(1, 7):
        save(store, step, best=step in (1, 2))
    assert names(store.folder) == ["step_00000002", "step_00000005", "step_00000006"]
    assert store.best().step == 2
    assert store.newest()[0].step == 6


def test_which_is_the_best_is_known_from_the_disk_alone(store, tmp_path):
    save(store, 1, best=True)
    save(store, 2)
    store.close()
    with CheckpointStore(tmp_path / "run") as again:
        for step in range(3, 7):
            save(again, step)
        assert again.best().step == 1
        save(again, 7, best=True)
        save(again, 8)
        assert again.best().step == 7
        assert names(again.folder) == ["step_00000007", "step_00000008"]


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_are_kept_as_asked(tmp_path, keep):
    with CheckpointStore(tmp_path, keep=keep) as store:
        for step in range(1, 6):
            save(store, step)
    assert len(names(tmp_path)) == keep


def test_keeping_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="keep is 0, and must be at least 1"):
        CheckpointStore(tmp_path, keep=0)


def test_of_two_checkpoints_at_one_step_the_later_counts(store):
    save(store, 4)
    save(store, 5)
    assert store.save(5, {}, {"after": "validation"}, best=True).name == "step_00000005-2"
    assert store.newest()[0].state == {"after": "validation"}
    assert names(store.folder) == ["step_00000004", "step_00000005-2"]
    assert store.save(5, {}, {"after": "all"}).name == "step_00000005-3"
    assert store.newest()[0].state == {"after": "all"}
    assert store.best().state == {"after": "validation"}
    assert store.save(5, {}, {"after": "more"}).name == "step_00000005-4"
    assert names(store.folder) == ["step_00000004", "step_00000005-2", "step_00000005-4"]


def test_other_files_in_the_folder_are_left_alone(store):
    (store.folder / "step_1").mkdir()
    (store.folder / "step_00000001.txt").touch()
    (store.folder / ".tmp-mine").touch()
    (store.folder / "step_00000000").symlink_to(store.folder / "step_1")
    for step in range(1, 5):
        save(store, step)
    assert set(names(store.folder)) > {"step_1", "step_00000001.txt", ".tmp-mine", "step_00000000"}
    assert store.newest()[0].step == 4


def test_an_old_checkpoint_that_cannot_be_removed_is_warned_of(store, monkeypatch):
    save(store, 1)
    save(store, 2)
    rename = os.rename

    def fail(source, target):
        if "step_00000001" in str(source):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.warns(UserWarning, match="an old checkpoint could not be removed: .*Input/output"):
        save(store, 3)
    assert store.newest()[0].step == 3


# damage


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "SHA256SUMS"])
def test_a_damaged_checkpoint_is_passed_over_and_the_reason_given(store, name):
    save(store, 1)
    flip(save(store, 2) / name)
    checkpoint, skipped = store.newest()
    assert checkpoint.step == 1
    assert [item.path.name for item in skipped] == ["step_00000002"]
    assert "is not whole: its files are not those of its SHA256SUMS" in skipped[0].reason


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "SHA256SUMS"])
def test_a_missing_file_is_named(store, name):
    path = save(store, 1)
    (path / name).unlink()
    with pytest.raises(CheckpointCorruptError, match=f"No such file.*{name}.*earlier one"):
        read_checkpoint(path)


def test_every_flipped_bit_is_noticed(store):
    path = store.save(1, {"w": torch.randn(3)}, {"a": 1})
    for file in path.iterdir():
        data = file.read_bytes()
        for place in range(len(data)):
            flip(file, place)
            with pytest.raises(CheckpointCorruptError, match="is not whole"):
                read_checkpoint(path)
            file.write_bytes(data)
    read_checkpoint(path)


@pytest.mark.parametrize("header", [b"", b"\xff" * 20, (2).to_bytes(8, "little") + b"[]"])
def test_a_broken_tensor_file_is_a_corrupt_checkpoint(store, header):
    path = save(store, 1)
    (path / "state.safetensors").write_bytes(header)
    with pytest.raises(CheckpointCorruptError, match="not a sound safetensors file"):
        read_checkpoint(path)


def with_sums(path, *, text=None, tensors=None):
    """Change a checkpoint and make its sums right, as only somebody can who means to."""
    if text is not None:
        (path / "state.json").write_bytes(text)
    if tensors is not None:
        (path / "state.safetensors").write_bytes(tensors)
    lines = [
        f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("state.json", "state.safetensors")
    ]
    (path / "SHA256SUMS").write_text("".join(lines))
    return path


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"format":1}', b"[" * 100_000])
def test_a_state_that_is_not_ours_is_refused_though_its_sums_hold(store, text):
    path = with_sums(save(store, 1, best=True), text=text)
    with pytest.raises(CheckpointCorruptError, match=r"state.json is not of classicnets"):
        read_checkpoint(path)
    assert store.newest()[0] is None
    assert store.best() is None


def test_a_shape_that_torch_cannot_make_is_refused_though_the_sums_hold(store):
    shape = [2**62, 2**62, 0]
    text = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    path = with_sums(save(store, 1), tensors=len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointCorruptError, match="'x' cannot be of shape"):
        read_checkpoint(path)


def test_a_checkpoint_of_a_newer_format_is_refused_clearly(store):
    save(store, 1)
    path = save(store, 2)
    text = (path / "state.json").read_bytes().replace(b'"format":1', b'"format":2')
    with_sums(path, text=text)
    match = "has format 2, and this classicnets reads 1; use the version that wrote it"
    with pytest.raises(CheckpointMismatchError, match=match):
        read_checkpoint(path)
    checkpoint, skipped = store.newest()
    assert checkpoint.step == 1
    assert "has format 2" in skipped[0].reason


def test_a_damaged_best_does_not_pass_for_the_best(store):
    save(store, 1, best=True)
    flip(save(store, 2, best=True) / "state.safetensors")
    assert store.best().step == 1


def test_damaged_checkpoints_ahead_are_removed_by_the_next_save(store):
    save(store, 1)
    flip(save(store, 2) / "state.safetensors")
    save(store, 1)
    assert names(store.folder) == ["step_00000001-2"]


def test_a_step_saved_again_after_its_damaged_checkpoint_was_removed_is_kept(store, tmp_path):
    save(store, 1)
    flip(save(store, 3) / "state.safetensors")
    store.close()
    with CheckpointStore(tmp_path / "run") as again:
        for step in (2, 3, 4):
            save(again, step)
        assert names(again.folder) == ["step_00000003", "step_00000004"]


def test_a_damaged_checkpoint_does_not_count_among_those_kept(store, tmp_path):
    save(store, 1)
    flip(save(store, 2) / "state.safetensors")
    store.close()
    with CheckpointStore(tmp_path / "run") as again:
        save(again, 3)
        assert names(again.folder) == ["step_00000001", "step_00000003"]


def test_a_best_that_cannot_be_read_for_a_moment_is_kept(store, tmp_path, monkeypatch):
    save(store, 1, best=True)
    store.close()
    real = os.open

    def fail(path, *arguments):
        if "step_" in str(path):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *arguments)

    again = CheckpointStore(tmp_path / "run")
    monkeypatch.setattr(os, "open", fail)
    again.open()
    monkeypatch.undo()
    for step in range(2, 6):
        save(again, step)
    again.close()
    assert again.best().step == 1


def test_a_whole_checkpoint_ahead_is_not_saved_behind(store):
    save(store, 5)
    with pytest.raises(ConfigError, match="step is 4, and .*step_00000005' is there already"):
        save(store, 4)
    assert names(store.folder) == ["step_00000005"]


# what cannot be saved


@pytest.mark.parametrize("step", [-1, 1.0, True, "3"])
def test_a_step_that_is_no_whole_number_is_refused(store, step):
    with pytest.raises(ConfigError, match=r"step is .*, and must be a whole number from 0"):
        store.save(step, {}, {})


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"a": torch.zeros(1)}, "state cannot be saved as JSON: .*Tensor"),
        ({"a": [{"b": {1: 2}}]}, r"state\['a'\]\[0\]\['b'\] has the key 1, and must have strings"),
        ({"a": 10**5000}, "state cannot be saved as JSON"),
    ],
)
def test_a_state_that_is_no_json_is_refused(store, state, match):
    with pytest.raises(ConfigError, match=match):
        store.save(1, {}, state)
    assert names(store.folder) == []


def test_a_tensor_without_memory_is_refused(store):
    with pytest.raises(ConfigError, match="'x' is a .* tensor on meta, which a file cannot hold"):
        store.save(1, {"x": torch.zeros(3, device="meta")}, {})


def test_saving_without_opening_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not open in this process; use it in a with statement"):
        CheckpointStore(tmp_path).save(1, {}, {})


# where it cannot be saved


def test_missing_folders_are_made(tmp_path):
    with CheckpointStore(tmp_path / "a" / "b") as store:
        save(store, 1)
    assert CheckpointStore(tmp_path / "a" / "b").newest()[0].step == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file", "File exists"),
        ("file/run", "Not a directory"),
        ("n" * 300, "File name too long"),
        ("zero\0", "null byte"),
    ],
)
def test_a_folder_that_cannot_be_is_found_out_on_opening(tmp_path, name, reason):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StorageError, match=f"cannot write .*: .*{reason}.*; choose a folder"):
        CheckpointStore(tmp_path / name).open()
    assert (tmp_path / "file").read_text() == "precious"


def test_a_read_only_folder_is_found_out_on_opening(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes where it may not")
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied; choose a folder"):
        CheckpointStore(tmp_path).open()


def test_a_folder_that_takes_files_but_no_folders_is_found_out_on_opening(tmp_path, monkeypatch):
    def fail(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with CheckpointStore(tmp_path):
        pass
    monkeypatch.setattr(os, "mkdir", fail)
    with pytest.raises(StorageError, match="Permission denied; choose a folder"):
        CheckpointStore(tmp_path).open()
    monkeypatch.undo()
    with CheckpointStore(tmp_path):
        pass


def test_a_full_disk_says_the_room_needed_and_leaves_the_earlier_checkpoints_whole(store):
    save(store, 1)
    before = names(store.folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        match = r"step_00000002': File too large; it needs 4\.0 MB, .* MB are free; make room, or"
        with pytest.raises(StorageError, match=match) as caught:
            store.save(2, {"w": torch.zeros(1_000_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert names(store.folder) == before
    assert store.newest()[0].step == 1
    save(store, 2)
    assert store.newest()[0].step == 2


@pytest.mark.parametrize("number", range(1, 6))
def test_a_sync_that_fails_is_told_and_leaves_the_earlier_checkpoints_whole(
    store, monkeypatch, number
):
    save(store, 1)
    real, count = os.fsync, iter(range(1, 100))

    def fail(descriptor):
        if next(count) == number:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="step_00000002': Input/output error"):
        save(store, 2)
    assert [name for name in names(store.folder) if name.startswith(".tmp-")] == []
    assert store.newest()[1] == []
    save(store, 2)
    assert store.newest()[0].step == 2


def test_two_stores_do_not_save_into_one_folder(store, tmp_path):
    with pytest.raises(RunLockedError, match=f"in use by process {os.getpid()}"):
        CheckpointStore(tmp_path / "run").open()
    save(store, 1)


def test_leftovers_of_the_dead_are_cleared_on_opening_and_of_the_living_kept(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid(), 1):
        (tmp_path / f".tmp-{pid}-0123456789abcdef").mkdir()
        (tmp_path / f".tmp-{pid}-0123456789abcdef" / "state.json").touch()
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / f".tmp-{dead.pid}-fedcba9876543210").symlink_to(precious)
    with CheckpointStore(tmp_path):
        assert names(tmp_path) == [".tmp-1-0123456789abcdef", "precious"]


def test_a_link_in_place_of_a_checkpoint_is_neither_followed_nor_replaced(store, tmp_path):
    (tmp_path / "target").mkdir()
    (store.folder / "step_00000001").symlink_to(tmp_path / "target")
    assert save(store, 1).name == "step_00000001-2"
    assert list((tmp_path / "target").iterdir()) == []


def test_a_pipe_in_a_checkpoint_does_not_block_the_reader(store):
    path = save(store, 1)
    (path / "state.json").unlink()
    os.mkfifo(path / "state.json")
    assert "not a regular file" in store.newest()[1][0].reason
