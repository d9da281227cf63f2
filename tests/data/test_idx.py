import gzip
import io
import struct
import tracemalloc
import zlib

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from classicnets.data.idx import read_idx
from classicnets.errors import DataError


def idx(*shape, data=None, magic=None):
    """The bytes of an IDX file; data of the right length unless given."""
    magic = bytes((0, 0, 8, len(shape))) if magic is None else magic
    if data is None:
        data = bytes(range(256)) * 10
        data = data[: torch.Size(shape).numel()]
    return magic + struct.pack(f">{len(shape)}I", *shape) + data


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="some-ubyte"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


@pytest.mark.parametrize("compress", [False, True])
def test_a_good_file_gives_its_bytes_in_its_shape(write, compress):
    content = idx(4, 3, 2)
    path = write(gzip.compress(content), "a.gz") if compress else write(content)
    expected = torch.arange(24, dtype=torch.uint8).view(4, 3, 2)
    assert torch.equal(read_idx(path, 3), expected)
    assert torch.equal(read_idx(str(path), 3), expected)


def test_labels_have_one_dimension(write):
    assert read_idx(write(idx(5)), 1).tolist() == [0, 1, 2, 3, 4]


HUGE = 2**32 - 1
WRONG = {
    "empty": (b"", "has 0 bytes, expected a header of 16"),
    "half a magic number": (bytes((0, 0)), "has 2 bytes, expected a header of 16"),
    "short header": (idx(4, 3, 2)[:13], "has 13 bytes, expected a header of 16"),
    "bad magic": (idx(4, 3, 2, magic=b"\x89PNG"), "begins with 0x89504e47, expected the magic"),
    "text": (b"<html>404</html>", "begins with 0x3c68746d, expected the magic number 0x00000803"),
    "little-endian": (idx(4, 3, 2, magic=b"\x03\x08\0\0"), "begins with 0x03080000"),
    "type 0x0A": (idx(4, 3, 2, magic=b"\0\0\x0a\x03"), "begins with 0x00000a03"),
    "type 0x0D, float": (idx(4, 3, 2, magic=b"\0\0\x0d\x03"), "begins with 0x00000d03"),
    "no dimensions": (idx(4, 3, 2, magic=b"\0\0\x08\x00"), "begins with 0x00000800"),
    "nine dimensions": (idx(4, 3, 2, magic=b"\0\0\x08\x09"), "begins with 0x00000809"),
    "labels for images": (idx(24), "begins with 0x00000801, expected .* 0x00000803"),
    "gzip without its name": (gzip.compress(idx(4, 3, 2)), "begins with 0x1f8b08"),
    "dimensions above the data": (
        idx(5, 3, 2, data=bytes(24)),
        "promises 5 x 3 x 2 = 30 bytes of data, found 24; it is cut off",
    ),
    "one byte short": (idx(4, 3, 2)[:-1], "= 24 bytes of data, found 23; it is cut off"),
    "no data": (idx(4, 3, 2, data=b""), "= 24 bytes of data, found 0; it is cut off"),
    "trailing byte": (idx(4, 3, 2) + b"\0", "= 24 bytes of data, found more; what follows"),
    "dimensions below the data": (idx(3, 3, 2, data=bytes(24)), "= 18 bytes of data, found more"),
    "largest dimensions": (idx(HUGE, HUGE, HUGE, data=b"abc"), f"= {HUGE**3} bytes of data, exp"),
    "product wraps to 0": (
        idx(2**31, 2**31, 4, data=b""),
        f"promises .* = {2**64} bytes of data, expected 1 to 1073741824",
    ),
    "product wraps to the data": (idx(2**31, 2**31, 4 * 7, data=b"1234567"), "expected 1 to"),
    "no pictures": (idx(0, 28, 28), "promises 0 x 28 x 28 = 0 bytes of data, expected 1 to"),
    "pictures of no width": (idx(4, 28, 0), "promises 4 x 28 x 0 = 0 bytes of data"),
    "above the cap": (idx(2**20, 32, 33, data=b""), "expected 1 to 1073741824"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_file_is_named_with_expected_and_found(write, case):
    content, message = WRONG[case]
    with pytest.raises(DataError, match=f"some-ubyte .*{message}"):
        read_idx(write(content), 3)
    with pytest.raises(DataError, match=rf"a\.gz .*{message}"):
        read_idx(write(gzip.compress(content), "a.gz"), 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(4, 3, 2), "cannot be read: Not a gzipped file"),
        (gzip.compress(idx(4, 3, 2))[:-3], "is cut off: its gzip stream has no end"),
        (gzip.compress(idx(4, 3, 2))[:20], "is cut off: its gzip stream has no end"),
        (gzip.compress(idx(4, 3, 2))[:-8] + bytes(8), "cannot be read: CRC check failed"),
        (gzip.compress(idx(4, 3, 2))[:10] + b"\xff" * 30, "cannot be read: Error -3"),
        (gzip.compress(b"") * 3, "has 0 bytes, expected a header of 16"),
    ],
    ids=["not gzip", "no trailer", "cut", "bad sum", "bad stream", "empty members"],
)
def test_a_malformed_gzip_file_is_named(write, content, message):
    with pytest.raises(DataError, match=rf"a\.gz {message}"):
        read_idx(write(content, "a.gz"), 3)


def test_a_gzip_bomb_is_not_unfolded(write):
    squeezed = io.BytesIO()
    with gzip.GzipFile(fileobj=squeezed, mode="wb") as file:
        file.write(idx(4, 3, 2))
        for _ in range(64):
            file.write(bytes(2**20))
    path = write(squeezed.getvalue(), "bomb.gz")
    assert path.stat().st_size * 900 < 2**26
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="= 24 bytes of data, found more"):
            read_idx(path, 3)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_missing_files_and_folders_are_named(tmp_path):
    for name in ("none", "none.gz"):
        with pytest.raises(DataError, match=f"{name} cannot be read: .*No such file"):
            read_idx(tmp_path / name, 3)
    with pytest.raises(DataError, match="cannot be read: .*Is a directory"):
        read_idx(tmp_path, 3)


headers = st.builds(
    lambda magic, dimensions, data: magic + b"".join(dimensions) + data,
    st.sampled_from([b"\0\0\x08\x03", b"\0\0\x08\x01", b"\0\0\x0a\x03"]) | st.binary(max_size=4),
    st.lists(
        st.integers(0, 3).map(lambda n: struct.pack(">I", n))
        | st.sampled_from([0, 1, 2**16, 2**31, HUGE]).map(lambda n: struct.pack(">I", n))
        | st.binary(min_size=4, max_size=4),
        max_size=4,
    ),
    st.binary(max_size=30),
)


@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=headers, dimensions=st.sampled_from([1, 3]), compress=st.booleans())
@example(content=idx(2, 2, 2), dimensions=3, compress=True)
def test_any_file_is_read_whole_or_refused(write, content, dimensions, compress):
    packed = zlib.compress(content, level=1, wbits=31) if compress else content
    path = write(packed, "fuzz.gz" if compress else "fuzz")
    try:
        found = read_idx(path, dimensions)
    except DataError:
        return
    assert content == idx(*found.shape, data=bytes(found.flatten().tolist()))


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 400), value=st.integers(0, 255), cut=st.none() | st.integers(0, 400))
def test_a_damaged_gzip_file_is_read_whole_or_refused(write, place, value, cut):
    content = idx(11, 5, 5)
    packed = bytearray(gzip.compress(content, mtime=0)[:cut])
    packed[place : place + 1] = bytes([value])
    try:
        found = read_idx(write(packed, "fuzz.gz"), 3)
    except DataError:
        return
    assert torch.equal(found.flatten(), torch.tensor(list(content[16:]), dtype=torch.uint8))
