import errno
import hashlib
import io
import json
import os
import pickle
import resource
import zipfile

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from torch import nn

from classicnets.errors import (
    CheckpointMismatchError,
    ConfigError,
    StorageError,
    WeightsError,
)
from classicnets.storage.weights import load_weights, save_weights

ALL_TYPES = (
    *(torch.bool, torch.uint8, torch.int16, torch.uint16, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float64, torch.complex64),
)


class Net(nn.Module):
    """A net with a buffer of integers, options, and nothing else of interest."""

    def __init__(self, maps=4):
        super().__init__()
        self.options = {"maps": maps}
        self.c1 = nn.Conv2d(1, maps, 3)
        self.norm = nn.BatchNorm2d(maps)
        self.scale = nn.Parameter(torch.tensor(1.5))


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and x.equal(y) for (a, x), (b, y) in pairs)


def refuses(path, error, match, model=None, **options):
    """Assert that a file is refused and that the model stays as it was."""
    model = model or Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(error, match=match) as caught:
        load_weights(model, path, **options)
    assert str(path) in str(caught.value)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


@pytest.fixture
def saved(tmp_path):
    net = Net()
    save_weights(net, tmp_path / "net.safetensors")
    return net, tmp_path / "net.safetensors"


# saving


def test_weights_come_back_bit_for_bit(saved):
    net, path = saved
    other = Net()
    load_weights(other, path)
    assert same(net, other)


def test_the_safetensors_package_reads_what_is_saved(saved):
    net, path = saved
    tensors = load_file(path)
    assert tensors.keys() == net.state_dict().keys()
    assert all(tensors[name].equal(value) for name, value in net.state_dict().items())


def test_what_the_safetensors_package_saves_is_read(tmp_path):
    net, other = Net(), Net()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    load_weights(other, tmp_path / "net.safetensors")
    assert same(net, other)


def test_a_file_names_the_net_and_its_options(saved):
    with safe_open(saved[1], "pt") as file:
        metadata = file.metadata()
    assert metadata["net"] == "Net"
    assert json.loads(metadata["options"]) == {"maps": 4}


def test_saving_replaces_the_older_file_and_leaves_nothing_beside_it(saved):
    _, path = saved
    net = Net()
    save_weights(net, path)
    other = Net()
    load_weights(other, path)
    assert same(net, other)
    assert list(path.parent.iterdir()) == [path]


def test_missing_folders_are_made(tmp_path):
    save_weights(Net(), tmp_path / "a" / "b" / "net.safetensors")
    load_weights(Net(), tmp_path / "a" / "b" / "net.safetensors")


def test_non_contiguous_shared_and_empty_tensors_are_saved_as_they_are(tmp_path):
    net, other = nn.Module(), nn.Module()
    base = torch.arange(12.0).reshape(3, 4)
    for module, factor in ((net, 1), (other, 0)):
        module.register_buffer("turned", (base * factor).T)
        module.register_buffer("shared", module.turned)
        module.register_buffer("nothing", torch.zeros(0, 3))
    save_weights(net, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert other.turned.equal(base.T)


@pytest.mark.parametrize("dtype", ALL_TYPES, ids=str)
def test_every_type_comes_back(tmp_path, dtype):
    net, other = nn.Module(), nn.Module()
    net.register_buffer("x", torch.tensor([1, 0, 1]).to(dtype))
    other.register_buffer("x", torch.zeros(3, dtype=dtype))
    save_weights(net, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert other.x.equal(net.x)


def test_compiled_and_parallel_models_save_and_load_the_module_within(tmp_path):
    net, other = Net(), Net()
    save_weights(torch.compile(net), tmp_path / "w.safetensors")
    load_weights(nn.DataParallel(torch.compile(other)), tmp_path / "w.safetensors")
    assert same(net, other)


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_prefixes_of_compiled_and_parallel_state_dicts_do_not_matter(tmp_path, wrap):
    net, other = Net(), Net()
    torch.save(wrap(nn.DataParallel(net)).state_dict(), tmp_path / "w.pt")
    load_weights(other, tmp_path / "w.pt")
    assert same(net, other)


def test_a_submodule_called_module_is_no_prefix(tmp_path):
    net, other = nn.Module(), nn.Module()
    net.module, other.module = Net(), Net()
    save_weights(net, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert same(net, other)


@pytest.mark.parametrize("name", ["net.pt", "net", "net.safetensors.tmp"])
def test_saving_under_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"must end in \.safetensors; rename"):
        save_weights(Net(), tmp_path / name)


def test_saving_a_meta_tensor_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'scale' of Net is on the meta device"):
        save_weights(Net().to("meta"), tmp_path / "w.safetensors")


def test_saving_a_state_that_is_no_tensor_is_refused(tmp_path):
    class Odd(nn.Module):
        def get_extra_state(self):
            return 3

        def set_extra_state(self, state):
            pass

    with pytest.raises(ConfigError, match="'_extra_state' of Odd is no tensor"):
        save_weights(Odd(), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "value",
    [torch.zeros(2, dtype=torch.complex128), torch.eye(2).to_sparse()],
    ids=["type", "sparse"],
)
def test_saving_what_the_format_lacks_is_refused(tmp_path, value):
    net = nn.Module()
    net.register_buffer("x", value)
    with pytest.raises(ConfigError, match="'x' is a .* tensor on cpu, which a file cannot hold"):
        save_weights(net, tmp_path / "w.safetensors")


def test_a_full_disk_leaves_the_older_file_whole_and_says_the_room_needed(saved):
    net, path = saved
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(
            StorageError, match=r"it needs 4\.0 MB, .* MB are free; make room"
        ) as caught:
            save_weights(nn.Linear(1000, 1000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in str(caught.value)
    assert caught.value.errno == errno.EFBIG
    assert list(path.parent.iterdir()) == [path]
    other = Net()
    load_weights(other, path)
    assert same(net, other)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/net.safetensors", "(Not a directory|File exists).*; choose a folder"),
        ("folder.safetensors", "it is a folder; give the name of a file"),
        ("n" * 300 + ".safetensors", "File name too long.*; choose a folder"),
        ("zero\0.safetensors", "null byte.*; choose a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder.safetensors").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=reason):
        save_weights(Net(), tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


# loading: the wrong file


@pytest.mark.parametrize("name", ["none.safetensors", "none.pt"])
def test_a_missing_file_is_named(tmp_path, name):
    refuses(tmp_path / name, WeightsError, "cannot read weights .*No such file")


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    refuses(tmp_path / "w.safetensors", WeightsError, "not a regular file")


def test_loading_from_another_suffix_is_refused(tmp_path):
    refuses(tmp_path / "w.bin", ConfigError, "must end in .safetensors, .pt or .pth")


def test_loading_into_a_meta_model_is_refused(saved):
    with pytest.raises(ConfigError, match="on the meta device.*to_empty"):
        load_weights(Net().to("meta"), saved[1])


def test_missing_unexpected_and_different_tensors_are_counted_and_five_are_shown(tmp_path):
    tensors = Net(maps=5).state_dict()
    tensors["c1.renamed"] = tensors.pop("c1.weight")
    save_file(tensors, tmp_path / "w.safetensors")
    refuses(
        tmp_path / "w.safetensors",
        CheckpointMismatchError,
        r"does not fit Net \(1 missing, 1 unexpected, 5 different of 8 tensors\): "
        r"'c1.weight' is missing; 'c1.renamed' is unexpected; "
        r"'c1.bias' is \(5,\) float32, the model's \(4,\) float32; .*; .*; \.\.\.; build the net",
    )


def test_the_net_a_file_names_is_shown_when_it_does_not_fit(saved):
    refuses(
        saved[1],
        CheckpointMismatchError,
        "the file says it holds 'Net' '{\"maps\": 4}'",
        Net(maps=5),
    )


def test_a_state_dict_of_another_net_is_refused(tmp_path):
    torch.save(Net(maps=5).state_dict(), tmp_path / "w.pt")
    refuses(
        tmp_path / "w.pt", CheckpointMismatchError, r"does not fit Net \(6 different of 8 tensors\)"
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_other_float_widths_are_taken_only_with_cast(tmp_path, dtype, suffix):
    net, other = Net(), Net()
    path = tmp_path / f"w.{suffix}"
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    (save_file if suffix == "safetensors" else torch.save)(state, path)
    refuses(
        path, CheckpointMismatchError, "the model's .* float32; .*pass cast=True to convert", other
    )
    load_weights(other, path, cast=True)
    assert other.c1.weight.equal(net.c1.weight.to(dtype).float())


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.int64, torch.complex64], ids=str)
@pytest.mark.parametrize("cast", [False, True])
def test_integers_booleans_and_complex_numbers_are_no_weights(tmp_path, dtype, cast):
    state = {name: value.to(dtype) for name, value in Net().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    refuses(tmp_path / "w.pt", CheckpointMismatchError, "build the net that was saved", cast=cast)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    net = Net()
    net.norm.running_var[2] = value
    save_weights(net, tmp_path / "w.safetensors")
    refuses(
        tmp_path / "w.safetensors", WeightsError, "NaN or infinite values in 'norm.running_var'"
    )


def test_a_cast_that_overflows_is_refused(tmp_path):
    net = Net().double()
    net.c1.bias.data[0] = 1e300
    save_weights(net, tmp_path / "w.safetensors")
    refuses(tmp_path / "w.safetensors", WeightsError, "infinite values in 'c1.bias'", cast=True)


# loading: damaged files


def test_every_flipped_byte_of_a_saved_file_is_noticed_or_harmless(saved):
    """Only the field names of the metadata can change unnoticed, and no tensor depends on them."""
    net, path = saved
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        other = Net()
        try:
            load_weights(other, path)
        except WeightsError:
            continue
        assert same(net, other)


def test_changed_values_are_noticed(saved):
    data = bytearray(saved[1].read_bytes())
    data[-1] ^= 1
    saved[1].write_bytes(data)
    refuses(saved[1], WeightsError, "has changed since it was saved")


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_every_truncation_is_noticed(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    net = Net()
    torch.save(net.state_dict(), path) if suffix == "pt" else save_weights(net, path)
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        refuses(path, WeightsError, "is not a (sound safetensors|plain state)", net)


def test_a_flipped_bit_in_the_values_of_a_state_dict_is_noticed(tmp_path):
    path = tmp_path / "w.pt"
    net = Net()
    torch.save(net.state_dict(), path)
    data = bytearray(path.read_bytes())
    place = data.index(net.c1.weight.detach().numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    refuses(path, WeightsError, "member 'w/data/1' fails its check sum")


# loading: safetensors headers that lie


def safetensors_file(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(start=0, stop=8, shape=(2,), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop], **more}


HEADERS = {
    "no bytes": (b"", b"", 2**63, "header of 9,223,372,036,854,775,808"),
    "a header over the limit": (b" " * 5_000_000 + b"{}", b"", None, "at most 4,000,000"),
    "no JSON": (b"nonsense", b"", None, "bad header, Expecting value"),
    "a list": (b"[]", b"", None, "bad header"),
    "no UTF-8": (b"\xff\xfe{}", b"", None, "bad header, 'utf-8' codec"),
    "a name twice": (
        b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2),
        b"\0" * 8,
        None,
        "a name stands in it twice",
    ),
    "metadata of numbers": (
        {"__metadata__": {"a": 1}},
        b"",
        None,
        "__metadata__ is not of strings",
    ),
    "too many tensors": (
        {f"{i}": entry(0, 0, (0,)) for i in range(20_001)},
        b"",
        None,
        "it lists 20,001 tensors, at most 20,000",
    ),
    "other fields": ({"a": entry(more=1)}, b"\0" * 8, None, "'a' has other fields"),
    "an unknown type": ({"a": entry(dtype="F31")}, b"\0" * 8, None, "'a' is of an unknown type"),
    "65 dimensions": ({"a": entry(shape=(2,) + (1,) * 64)}, b"\0" * 8, None, "too many dimensions"),
    "a negative place": ({"a": entry(-8, 0)}, b"\0" * 8, None, "no whole number from 0"),
    "a fraction": ({"a": entry(shape=(2.0,))}, b"\0" * 8, None, "no whole number from 0"),
    "infinity": (
        b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}',
        b"",
        None,
        "'a' has a",
    ),
    "a boolean": ({"a": entry(shape=(True, 2))}, b"\0" * 8, None, "no whole number from 0"),
    "a lying shape": ({"a": entry(shape=(3,))}, b"\0" * 8, None, "'a' takes 8 bytes"),
    "a gap": ({"a": entry(8, 16)}, b"\0" * 16, None, "'a' begins at byte 8 instead of 0"),
    "overlap": ({"a": entry(), "b": entry()}, b"\0" * 8, None, "'b' begins at byte 0 instead of 8"),
    "trailing bytes": ({"a": entry()}, b"\0" * 9, None, "describes 8 bytes, 9 follow"),
    "missing bytes": ({"a": entry()}, b"\0" * 7, None, "describes 8 bytes, 7 follow"),
    "nested without end": (b"[" * 100_000, b"", None, "bad header"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_lies_is_refused(tmp_path, case):
    header, data, length, match = HEADERS[case]
    path = safetensors_file(tmp_path / "w.safetensors", header, data, length)
    refuses(path, WeightsError, f"not a sound safetensors file: .*{match}")


def test_booleans_other_than_0_and_1_are_refused(tmp_path):
    net = nn.Module()
    net.register_buffer("x", torch.zeros(2, dtype=torch.bool))
    path = safetensors_file(tmp_path / "w.safetensors", {"x": entry(0, 2, dtype="BOOL")}, b"\1\2")
    refuses(path, WeightsError, "'x' holds booleans other than 0 and 1", net)


# loading: others' state dictionaries


def archive(path, members, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def state_dict_members(net):
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    with zipfile.ZipFile(buffer) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def test_a_compressed_state_dict_is_refused(tmp_path):
    path = archive(tmp_path / "w.pt", state_dict_members(Net()), compression=zipfile.ZIP_DEFLATED)
    refuses(path, WeightsError, r"member 'archive/.*' is compressed")


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (
            ("archive/payload.py", b"1"),
            "holds 'archive/payload.py', which torch.save does not write",
        ),
        (("other/data/99", b"1"), "two of its members bear one name, or they lie in two folders"),
        (("archive/code/a.py", b"1"), "a TorchScript archive, which holds a program"),
        (("archive/data/99", b"0" * 17_000_000), "17,.* bytes long, its tensors"),
    ],
)
def test_an_archive_with_more_than_a_state_dict_is_refused(tmp_path, more, match):
    path = archive(tmp_path / "w.pt", [*state_dict_members(Net()), more])
    refuses(path, WeightsError, match)


def test_an_archive_without_a_pickle_is_refused(tmp_path):
    path = archive(tmp_path / "w.pt", [("archive/version", b"3")])
    refuses(path, WeightsError, "no data.pkl of at most 600,000 bytes")


@pytest.mark.parametrize("where", ["before", "after"])
def test_bytes_around_an_archive_are_refused(tmp_path, where):
    path = tmp_path / "w.pt"
    torch.save(Net().state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(b"PK" + data if where == "before" else data + b"more")
    refuses(path, WeightsError, "directory is damaged|something follows the archive")


def test_the_form_of_old_torch_is_refused(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    refuses(tmp_path / "w.pt", WeightsError, "no zip archive; torch before 1.6")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([1.5], "the operation EMPTY_LIST"),
        (Net(), "'.*Net', which a state dictionary of tensors does not need"),
        ({"epoch": 3, "state_dict": {}}, "no dictionary of tensors alone"),
        ({3: torch.zeros(1)}, "other keys than strings"),
        (
            {"x": torch.zeros(1).expand(5)},
            r"elements of a tensor of shape \(5,\) overlap \(stride 0\)",
        ),
        ({"x": torch.zeros(2, dtype=torch.uint16)}, "_rebuild_tensor_v3'"),
    ],
    ids=["list", "module", "checkpoint", "keys", "stride 0", "storage"],
)
def test_what_is_no_plain_state_dict_is_refused(tmp_path, value, match):
    torch.save(value, tmp_path / "w.pt")
    refuses(tmp_path / "w.pt", WeightsError, f"not a plain state dictionary.*{match}")


class Rebuild:
    """Pickles as a tensor made of whatever is asked for."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.args if isinstance(value, Storage) else None


class Storage:
    def __init__(self, *args):
        self.args = args


def crafted(path, state, storage=b"\0" * 16):
    pickled = io.BytesIO()
    _Pickler(pickled, protocol=2).dump(state)
    return archive(
        path, [("w/data.pkl", pickled.getvalue()), ("w/version", b"3"), ("w/data/0", storage)]
    )


def storage(count=4, key="0", kind="storage"):
    return Storage(kind, torch.FloatStorage, key, "cpu", count)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((storage(), 0, (10**6, 10**6), (0, 0)), "overlap"),
        ((storage(), 0, (3, 3), (1, 1)), "overlap"),
        ((storage(), 1, (4,), (1,)), "does not fit into its storage"),
        ((storage(), 0, (2, 2), (3, 1)), "does not fit into its storage"),
        ((storage(), -1, (4,), (1,)), "no whole number from 0"),
        ((storage(), 0, (4,), (-1,)), "no whole number from 0"),
        ((storage(), 0, (4,), ()), "zip"),
        ((storage(8), 0, (8,), (1,)), "does not have the size of its member"),
        ((storage(key="1"), 0, (4,), (1,)), "w/data/1"),
        ((storage(kind="other"), 0, (4,), (1,)), "does not have the size of its member"),
        ((None, 0, (4,), (1,)), "NONE"),
    ],
)
def test_a_tensor_that_lies_about_its_storage_is_refused(tmp_path, arguments, match):
    path = crafted(tmp_path / "w.pt", {"x": Rebuild(*arguments, False, {})})
    refuses(path, WeightsError, match)


def test_an_honest_crafted_state_dict_is_read(tmp_path):
    """The control of the tests above: without the lie the file is taken."""
    net = nn.Module()
    net.register_buffer("x", torch.ones(4))
    load_weights(
        net, crafted(tmp_path / "w.pt", {"x": Rebuild(storage(), 0, (4,), (1,), False, {})})
    )
    assert net.x.equal(torch.zeros(4))


def test_channels_last_weights_and_parameters_are_read(tmp_path):
    net, other = Net().to(memory_format=torch.channels_last), Net()
    torch.save(dict(net.state_dict(keep_vars=True)), tmp_path / "w.pt")
    load_weights(other, tmp_path / "w.pt")
    assert same(net, other)


def test_the_digest_covers_the_whole_file_but_itself(saved):
    data = saved[1].read_bytes()
    with safe_open(saved[1], "pt") as file:
        digest = file.metadata()["classicnets.sha256"]
    assert hashlib.sha256(data.replace(digest.encode(), b"0" * 64)).hexdigest() == digest
