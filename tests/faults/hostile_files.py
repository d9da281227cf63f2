"""F3, F4, F5 as bytes: payloads that run, archives and headers made to exhaust, files that lie."""

import codecs
import io
import json
import logging
import os
import pickle
import shutil
import sqlite3
import struct
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# --- F3: code in place of weights


class Call:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def calls(canary: Path) -> dict[str, Call]:
    """Return calls each of which makes the file `canary`."""
    name = str(canary)
    write = f"open({name!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch '{name}'"),
        "os.popen": Call(os.popen, f"touch '{name}'"),
        "os.mkdir": Call(os.mkdir, name),
        "os.open": Call(os.open, name, os.O_CREAT),
        "os.symlink": Call(os.symlink, "/", name),
        "subprocess.run": Call(subprocess.run, ["touch", name]),
        "subprocess.check_output": Call(subprocess.check_output, ["touch", name]),
        "eval": Call(eval, write),
        "exec": Call(exec, write),
        "open": Call(open, name, "w"),
        "FileIO": Call(io.FileIO, name, "w"),
        "codecs.open": Call(codecs.open, name, "w"),
        "shutil.copy": Call(shutil.copy, "/dev/null", name),
        "Path.touch": Call(Path.touch, Path(name)),
        "logging.FileHandler": Call(logging.FileHandler, name),
        "sqlite3.connect": Call(sqlite3.connect, name),
        "ZipFile": Call(zipfile.ZipFile, name, "w"),
        "torch.save": Call(torch.save, {}, name),
        "torch.jit script": Call(torch._C.PyTorchFileWriter, name),
    }


class _Honest:
    """What `torch.save` writes for a state dictionary, in pieces."""

    def __init__(self, state: object) -> None:
        file = io.BytesIO()
        torch.save(state, file)
        with zipfile.ZipFile(file) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.name = next(name for name in self.members if name.endswith("data.pkl"))

    def with_pickle(self, pickled: bytes, **more: bytes) -> bytes:
        return stored({**self.members, self.name: pickled, **more})


def stored(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _saved(value: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def _tar(payload: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            entry = tarfile.TarInfo(name)
            entry.size = len(payload)
            archive.addfile(entry, io.BytesIO(payload))
    return file.getvalue()


def _torchscript(payload: bytes) -> bytes:
    code = b"def forward(self, x):\n  return x\n"
    return stored(
        {
            "w/data.pkl": payload,
            "w/constants.pkl": payload,
            "w/code/__torch__.py": code,
            "w/version": b"3\n",
        }
    )


class _Hidden(torch.nn.Module):
    """A module that pickles as a call."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call


def _safetensors(header: bytes | dict[str, Any], data: bytes = b"", length: int = -1) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length < 0 else length).to_bytes(8, "little") + text + data


def payloads(state: dict[str, torch.Tensor], canary: Path) -> dict[str, tuple[str, bytes, bytes]]:
    """Return files that hold code: the suffix, the bytes, and the pickle that would run.

    Args:
        state: the state dictionary that a reader hopes for.
        canary: the file that the code would make.
    """
    every = calls(canary)
    call = every["os.system"]
    payload = pickle.dumps(call, 2)
    honest = _Honest(state)
    metadata = OrderedDict(state)
    metadata._metadata = call  # type: ignore[attr-defined]
    extra = zipfile.ZipInfo("archive/data/0")
    extra.extra = struct.pack("<HH", 0x4242, len(payload)) + payload
    with_extra = io.BytesIO(stored({honest.name: honest.members[honest.name]}))
    with zipfile.ZipFile(with_extra, "a") as archive:
        archive.writestr(extra, b"")
    commented = io.BytesIO(_saved(state))
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = payload
    cases = {f"{name} in a .pt": (".pt", _saved(value)) for name, value in every.items()}
    cases |= {
        f"protocol {protocol}": (".pt", honest.with_pickle(pickle.dumps(call, protocol)))
        for protocol in range(6)
    }
    cases |= {
        "a value among tensors": (".pt", _saved({**state, "more": call})),
        "in place of a tensor": (".pt", _saved(dict.fromkeys(state, call))),
        "a key": (".pt", _saved({**state, call: torch.zeros(1)})),
        "the metadata of the dictionary": (".pt", _saved(metadata)),
        "a whole module": (".pt", _saved(_Hidden(call))),
        "deep inside": (".pt", _saved({"a": [{"b": ({"c": call},)}]})),
        "behind the end of the pickle": (
            ".pt",
            honest.with_pickle(honest.members[honest.name] + payload),
        ),
        "a bare pickle": (".pt", payload),
        "a bare pickle called .pth": (".pth", payload),
        "a bare pickle called .safetensors": (".safetensors", payload),
        "an archive called .safetensors": (".safetensors", _saved(call)),
        "the form before torch 1.6": (".pt", _saved(call, _use_new_zipfile_serialization=False)),
        "the tar of the oldest torch": (".pt", _tar(payload)),
        "TorchScript": (".pt", _torchscript(payload)),
        "the comment of the archive": (".pt", commented.getvalue()),
        "a member more": (
            ".pt",
            honest.with_pickle(honest.members[honest.name], **{"archive/payload.pkl": payload}),
        ),
        "the extra field of a member": (".pt", with_extra.getvalue()),
        "before the archive": (".pt", payload + _saved(state)),
        "after the archive": (".pt", _saved(state) + payload),
        "behind a safetensors header": (".safetensors", _safetensors({}, payload)),
        "the header of a safetensors file": (".safetensors", _safetensors(payload)),
    }
    return {name: (suffix, data, payload) for name, (suffix, data) in cases.items()}


# --- F4: archives that exhaust or lie


def _tensor_pickle(shape: object, strides: object, *, count: int = 4, offset: int = 0) -> bytes:
    """Return the pickle of {"weight": a tensor} with any shape and strides over one storage."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", count)
            return None

    file = io.BytesIO()
    tensor = Call(torch._utils._rebuild_tensor_v2, Storage(), offset, shape, strides, False, {})
    Pickler(file, 2).dump({"weight": tensor})
    return file.getvalue()


def _archive(pickled: bytes, storage: bytes = b"\0" * 16, **options: Any) -> bytes:
    return stored({"w/data.pkl": pickled, "w/version": b"3", "w/data/0": storage}, **options)


def _raw(*parts: bytes) -> bytes:
    """Return a pickle of protocol 2 from its operations."""
    return b"\x80\x02" + b"".join(parts) + b"."


def _nested_key() -> bytes:
    """A dictionary whose key takes 2^60 steps to hash: tuples of tuples, each of one twice."""
    doubled = b"".join(b"h\0h\0\x86q\0" for _ in range(60))
    return _raw(b"}", b")q\0", doubled, b"K\1s")


def _sharing(count: int, size: int) -> bytes:
    """Return an honest archive with more members, all of the same bytes by the directory."""
    honest = _archive(_tensor_pickle((4,), (1,)))
    start, end = honest.index(b"PK\1\2"), honest.rindex(b"PK\5\6")
    with_one = stored({"w/data/000000": bytes(size)})
    shared, entry = with_one.index(b"PK\1\2"), with_one[with_one.index(b"PK\1\2") : -22]
    entry = entry[:42] + struct.pack("<I", start) + entry[46:]
    more = b"".join(entry.replace(b"000000", b"%06d" % n) for n in range(10, 10 + count))
    directory = honest[start:end] + more
    total = min(count + 3, 2**16 - 1)
    place = start + shared
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, total, total, len(directory), place, 0)
    return honest[:start] + with_one[:shared] + directory + tail


def archives(state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """Return .pt files that must be refused at once, whatever model they are meant for."""
    honest = _Honest(state)
    whole = _saved(state)
    pickled = honest.members[honest.name]
    directory = whole.rindex(b"PK\1\2")
    encrypted = bytearray(stored(honest.members))
    for place in (encrypted.index(b"PK\1\2") + 8, 6):
        encrypted[place] |= 1
    return {
        "compressed a thousandfold": _archive(
            _tensor_pickle((16_000_000,), (1,), count=16_000_000),
            bytes(64_000_000),
            compression=zipfile.ZIP_DEFLATED,
        ),
        "compressed by bzip2": stored(honest.members, zipfile.ZIP_BZIP2),
        "compressed by lzma": stored(honest.members, zipfile.ZIP_LZMA),
        "stride 0": _archive(_tensor_pickle((10**6, 10**6), (0, 0))),
        "stride 0 in one dimension": _archive(_tensor_pickle((10**9, 2), (0, 1))),
        "overlapping rows": _archive(_tensor_pickle((10**4, 10**4), (1, 1), count=4)),
        "more elements than the storage": _archive(_tensor_pickle((2**40,), (1,), count=2**40)),
        "an offset outside the storage": _archive(_tensor_pickle((4,), (1,), offset=2**40)),
        "a negative size": _archive(_tensor_pickle((-4,), (1,))),
        "a size of 2^200": _archive(_tensor_pickle((2**200,), (1,))),
        "100,000 dimensions": _archive(_tensor_pickle((1,) * 100_000, (1,) * 100_000)),
        "100,000 members": _sharing(100_000, 0),
        "60,000 members": _sharing(60_000, 0),
        "500,000 members": _sharing(500_000, 0),
        "members that share their bytes": _sharing(10_000, 1_000_000),
        "a pickle of 50 MB": _archive(_raw(b"\x88" * 50_000_000)),
        "600,000 operations": _archive(_raw(b"\x88" * 599_000)),
        "600,000 dictionaries": _archive(_raw(b"}" * 599_000)),
        "600,000 tuples, nested": _archive(_raw(b")", b"\x85" * 599_000)),
        "a key that takes for ever to hash": _archive(_nested_key()),
        "8 GB of bytearray": _archive(
            _raw(
                b"cbuiltins\nbytearray\n", b"\x8a\x05" + (8 * 2**30).to_bytes(5, "little"), b"\x85R"
            )
        ),
        "a tensor of 8 GB": _archive(
            _raw(b"ctorch\nTensor\n", b"\x8a\x05" + (2 * 2**30).to_bytes(5, "little"), b"\x85R")
        ),
        "a memo index of 2^31": _archive(_raw(b"}", b"r\xff\xff\xff\x7f")),
        "a string that says it has 4 GB": _archive(_raw(b"X\xff\xff\xff\xff")),
        "no end": _archive(b"\x80\x02" + b"}" * 10),
        "an empty stack": _archive(_raw(b"0" * 10)),
        "no pickle": stored({"w/version": b"3"}),
        "two pickles": stored({"w/data.pkl": pickled, "v/data.pkl": pickled}),
        "names that climb": stored({"../data.pkl": pickled, "../../data/0": b"\0" * 16}),
        "a name with a zero byte": whole.replace(b"archive/data/0", b"archive/data/\0"),
        "another name in another case": stored({**honest.members, "archive/DATA.PKL": pickled}),
        "encrypted": bytes(encrypted),
        "no directory": whole[:directory],
        "a directory elsewhere": whole[:-6] + b"\1\0\0\0\0\0",
        "two archives": whole + whole,
        "empty": b"",
        "two letters": b"PK",
        "the smallest archive": b"PK\5\6" + bytes(18),
    }


# --- F5: safetensors headers that exhaust or lie


def _entry(start: int, stop: int, shape: object = (4,), dtype: object = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def headers() -> dict[str, bytes]:
    """Return .safetensors files that must be refused at once."""
    data = bytes(16)
    twice = json.dumps(_entry(0, 16))
    many = {f"{n}": _entry(0, 0, (0,)) for n in range(100_000)}
    return {
        "a length of 2^63": _safetensors({}, length=2**63),
        "a length of 2^64 - 1": _safetensors({}, length=2**64 - 1),
        "a length of 200 MB": _safetensors({}, length=200_000_000),
        "99 MB of spaces": _safetensors(b" " * 99_000_000 + b"{}"),
        "4 MB of spaces": _safetensors(b" " * 3_999_998 + b"[]"),
        "100,000 empty tensors": _safetensors(many),
        "20,001 empty tensors": _safetensors({k: many[k] for k in list(many)[:20_001]}),
        "a name twice": _safetensors(f'{{"weight":{twice},"weight":{twice}}}'.encode(), data),
        "a field twice": _safetensors(
            b'{"weight":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}', data
        ),
        "a negative offset": _safetensors({"weight": _entry(-16, 0)}, data),
        "offsets the wrong way round": _safetensors({"weight": _entry(16, 0)}, data),
        "overlapping tensors": _safetensors({"a": _entry(0, 16), "b": _entry(8, 24)}, bytes(24)),
        "a gap": _safetensors({"a": _entry(0, 16), "b": _entry(20, 36)}, bytes(36)),
        "trailing bytes": _safetensors({"weight": _entry(0, 16)}, data + b"more"),
        "missing bytes": _safetensors({"weight": _entry(0, 16)}, data[:-1]),
        "depth 100,000": _safetensors(b"[" * 100_000),
        "depth 1,000,000, closed": _safetensors(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
        "a million empty lists": _safetensors(b'{"a":[' + b"[]," * 10**6 + b"1]}"),
        "NaN as a size": _safetensors(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,0]}}'),
        "1e999 as a size": _safetensors(
            b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}}'
        ),
        "a size of 4,000 digits": _safetensors({"a": _entry(0, 0, (10**3999,))}),
        "a size of 100,000 digits": _safetensors(
            b'{"a":{"dtype":"F32","shape":[' + b"9" * 100_000 + b'],"data_offsets":[0,0]}}'
        ),
        "a million sizes": _safetensors({"a": _entry(0, 4, [1] * 10**6)}, bytes(4)),
        "a product of 0 from 2^64": _safetensors({"a": _entry(0, 0, [2**32, 2**32])}),
        "a fraction": _safetensors({"weight": _entry(0, 16, [4.0])}, data),
        "a boolean as a size": _safetensors({"weight": _entry(0, 16, [True, 4])}, data),
        "no UTF-8": _safetensors(b'{"\xff":1}'),
        "UTF-16": _safetensors('{"a":1}'.encode("utf-16")),
        "a lone surrogate": _safetensors(b'{"\\ud800":1}'),
        "metadata that are no strings": _safetensors({"__metadata__": {"a": [1]}}),
        "metadata that are a list": _safetensors({"__metadata__": ["a"]}),
        "an unknown type": _safetensors({"weight": _entry(0, 16, dtype="F33")}, data),
        "a type that is a list": _safetensors({"weight": _entry(0, 16, dtype=["F32"])}, data),
        "a tensor that is a number": _safetensors({"weight": 1}),
        "a list": _safetensors(b"[]"),
        "a string": _safetensors(b'"a"'),
        "nothing": b"",
        "seven bytes": bytes(7),
        "a header of no bytes": bytes(8),
    }
