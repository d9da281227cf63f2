import gzip
import hashlib
import os
import struct
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from classicnets.data import Affine, fashion_mnist, fashion_mnist_set, mnist, mnist_set
from classicnets.data.idx import read_idx
from classicnets.errors import ConfigError, DataError, DownloadError, StorageError

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def tiny(train=20, test=7, size=28):
    """Four IDX files: pictures of one level each, label = level % 10."""
    files = {}
    for part, first, count in (("train", 0, train), ("t10k", 200, test)):
        levels = range(first, first + count)
        data = b"".join(bytes([level]) * size * size for level in levels)
        files[f"{part}-images-idx3-ubyte"] = (
            struct.pack(">4B3I", 0, 0, 8, 3, count, size, size) + data
        )
        labels = bytes(level % 10 for level in levels)
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">4BI", 0, 0, 8, 1, count) + labels
    return files


def lay(folder, files, compress=()):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if name in compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def load(root=None, **options):
    return mnist(root, **{"val_size": 5, "normalize": "none", "image_size": 28, **options})


def levels(loader):
    return sorted(
        (level * 255).round().int().item() for images, _ in loader for level in images[:, 0, 9, 9]
    )


@pytest.fixture(autouse=True)
def _no_data_of_the_users(monkeypatch, tmp_path):
    for name in ("CLASSICNETS_DATA", "CLASSICNETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def check_tiny(splits):
    assert levels(splits.test) == list(range(200, 207))
    assert sorted(levels(splits.train) + levels(splits.val)) == list(range(20))
    assert (splits.train.num_images, splits.val.num_images) == (15, 5)
    for images, labels in splits.train:
        assert torch.equal((images[:, 0, 0, 0] * 255).round().long() % 10, labels)


@pytest.mark.parametrize("compress", [(), NAMES, NAMES[:2]], ids=["raw", "gz", "mixed"])
def test_files_in_torchvisions_layout_are_used_as_they_are(tmp_path, compress):
    lay(tmp_path / "MNIST/raw", tiny(), compress)
    check_tiny(load(tmp_path, download=False))
    check_tiny(load(str(tmp_path / "MNIST/raw"), download=False))


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    lay(tmp_path / "MNIST/raw", tiny())
    lay(tmp_path / "other/MNIST/raw", tiny(train=30))
    monkeypatch.setenv("CLASSICNETS_DATA", str(tmp_path))
    check_tiny(load(download=False))
    assert load(tmp_path / "other", download=False).train.num_images == 25


def test_a_cache_folder_of_the_users_is_the_last_resort(tmp_path):
    lay(tmp_path / "home/classicnets/MNIST/raw", tiny())
    check_tiny(load(download=False))


def test_the_raw_folder_named_by_the_environment_is_not_taken_for_any_data_set(
    tmp_path, monkeypatch
):
    lay(tmp_path / "MNIST/raw", tiny())
    monkeypatch.setenv("CLASSICNETS_DATA", str(tmp_path / "MNIST/raw"))
    with pytest.raises(DataError, match="raw/FashionMNIST/raw lacks 4 of the 4 files"):
        fashion_mnist(download=False)


def test_fashion_mnist_lies_in_its_own_folder(tmp_path):
    lay(tmp_path / "FashionMNIST/raw", tiny())
    splits = fashion_mnist(tmp_path, val_size=5, download=False)
    assert splits.test.num_images == 7
    assert splits.classes[0] == "T-shirt/top"
    assert len(splits.classes) == 10
    assert splits.train.settings["name"] == "fashion_mnist/train"
    assert splits.preparation.mean == (0.2860,)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, (("pad", 32),)),
        ({"image_size": 28}, ()),
        ({"image_size": 16}, (("area", 16),)),
        ({"image_size": 28, "digit_size": 16}, (("area", 16), ("pad", 28))),
    ],
)
def test_sizes_are_those_the_nets_take(tmp_path, options, steps):
    lay(tmp_path, tiny())
    splits = mnist(tmp_path, val_size=5, download=False, **options)
    assert splits.preparation.steps == steps
    size = options.get("image_size", 32)
    for images, _ in splits.train:
        assert images.shape[1:] == (1, size, size)
    again = mnist(tmp_path, download=False, **splits.options)
    assert again.train.settings == splits.train.settings


@pytest.mark.parametrize(("image_size", "digit_size"), [(27, None), (32, 16), (28, 20), (16, 16)])
def test_other_sizes_are_refused_with_those_there_are(tmp_path, image_size, digit_size):
    message = (
        f"image_size is {image_size} and digit_size {digit_size}; "
        "mnist has 32 and None, 28 and None, 16 and None, 28 and 16"
    )
    with pytest.raises(ConfigError, match=message):
        mnist(tmp_path, image_size=image_size, digit_size=digit_size)


def test_an_augmentation_of_the_users_stands_in_the_options_by_name(tmp_path):
    lay(tmp_path, tiny())
    splits = load(tmp_path, augment=Affine(rotation=3), download=False)
    assert splits.options["augment"] == splits.train.settings["augment"] == repr(Affine(rotation=3))


def changed(name, content):
    return {**tiny(), name: content}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (changed(NAMES[0], tiny()[NAMES[0]][:-1]), f"{NAMES[0]} promises 20 x 28 x 28 = 15680 .*c"),
        (changed(NAMES[1], tiny(train=19)[NAMES[1]]), f"{NAMES[0]} has 20 pictures, .* 19 labels;"),
        (changed(NAMES[2], tiny(size=27)[NAMES[2]]), f"{NAMES[2]} has pictures of 27x27, expected"),
        (changed(NAMES[3], tiny()[NAMES[3]][:-1] + b"\x0a"), r"labels\[6\] is 10; with 10 classes"),
        (changed(NAMES[3], b"<html>"), f"{NAMES[3]} begins with 0x3c68746d"),
    ],
)
def test_malformed_files_are_named(tmp_path, files, message):
    lay(tmp_path, files)
    with pytest.raises(DataError, match=message):
        load(tmp_path, download=False)


def test_a_split_that_leaves_nothing_to_train_is_refused(tmp_path):
    lay(tmp_path, tiny())
    with pytest.raises(ConfigError, match="val_size is 20; .* of mnist has 20 pictures, leave at"):
        load(tmp_path, val_size=20)


# Fetching, from a server on this machine


class Server:
    """Serves bytes by path, says what was asked for, and can lie."""

    def __init__(self):
        self.files = {}
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                name = self.path.lstrip("/")
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: outer.cut])
                self.close_connection = True

            def log_message(self, *arguments):
                pass

        self.cut = None
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"


@pytest.fixture
def server(monkeypatch):
    """A mirror that has the tiny files, known with their sums instead of the real ones."""
    server = Server()
    server.files = {f"{name}.gz": gzip.compress(content) for name, content in tiny().items()}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in server.files.items()}
    for module in (mnist_set, fashion_mnist_set):
        known = replace(module._FILES, mirrors=(server.url,), sha256=sums)
        monkeypatch.setattr(module, "_FILES", known)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def in_raw(root):
    return sorted(path.name for path in Path(root, "MNIST/raw").iterdir())


def test_missing_files_are_fetched_once_and_kept_unpacked(tmp_path, server):
    check_tiny(load(tmp_path))
    assert in_raw(tmp_path) == sorted(NAMES)
    asked = len(server.asked)
    check_tiny(load(tmp_path))
    check_tiny(load(tmp_path, download=False))
    assert len(server.asked) == asked


def test_only_what_is_missing_is_fetched(tmp_path, server):
    files = tiny()
    lay(tmp_path / "MNIST/raw", {name: files[name] for name in NAMES[1:]}, NAMES[2:])
    check_tiny(load(tmp_path))
    assert {path.lstrip("/") for path in server.asked} == {f"{NAMES[0]}.gz"}


def test_without_a_root_the_cache_folder_is_filled(tmp_path, server):
    check_tiny(load())
    assert in_raw(tmp_path / "home/classicnets") == sorted(NAMES)


def test_fashion_mnist_is_fetched_into_its_own_folder(tmp_path, server):
    fashion_mnist(tmp_path, val_size=5)
    assert all((tmp_path / "FashionMNIST/raw" / name).is_file() for name in NAMES)


def tampered(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    "replacement",
    [
        tampered,
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"<html>Moved</html>",
        lambda content: b"",
        gzip.compress,
        gzip.decompress,
    ],
    ids=["tampered", "short", "long", "html", "empty", "packed twice", "unpacked"],
)
def test_a_file_with_another_sum_is_never_used_nor_kept(tmp_path, server, replacement):
    name = f"{NAMES[2]}.gz"
    expected = hashlib.sha256(server.files[name]).hexdigest()
    server.files[name] = replacement(server.files[name])
    found = hashlib.sha256(server.files[name]).hexdigest()
    message = f"lacks 2 of the 4 .*\n  {server.url}{name}: SHA-256 is {found}, expected {expected}"
    with pytest.raises(DownloadError, match=message):
        load(tmp_path)
    assert in_raw(tmp_path) == sorted(NAMES[:2])  # those before it were whole


@pytest.mark.parametrize("cut", [0, 1, 50])
def test_a_transfer_that_breaks_off_is_never_used(tmp_path, server, cut):
    server.cut = cut
    with pytest.raises(DownloadError, match=f"{NAMES[0]}.gz: (SHA-256 is|.*IncompleteRead)"):
        load(tmp_path)
    assert in_raw(tmp_path) == []


def test_the_next_mirror_is_tried(tmp_path, server, monkeypatch):
    mirrors = (server.url + "gone/", "http://127.0.0.1:9/", server.url)
    monkeypatch.setattr(mnist_set, "_FILES", replace(mnist_set._FILES, mirrors=mirrors))
    server.files[f"gone/{NAMES[0]}.gz"] = b"not what it was"
    check_tiny(load(tmp_path))


def test_every_mirror_that_failed_is_named_with_its_reason(tmp_path, server, monkeypatch):
    mirrors = (server.url + "gone/", "http://127.0.0.1:9/")
    monkeypatch.setattr(mnist_set, "_FILES", replace(mnist_set._FILES, mirrors=mirrors))
    with pytest.raises(DownloadError, match=r"could not be fetched:\n.*404") as raised:
        load(tmp_path)
    assert "http://127.0.0.1:9/train-images-idx3-ubyte.gz: " in str(raised.value)
    assert "Put these there, as they are or unpacked" in str(raised.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, server):
    (tmp_path / "MNIST").write_bytes(b"a file where the folder should be")
    with pytest.raises(StorageError, match="MNIST/raw cannot take the files of mnist .*name anoth"):
        load(tmp_path)


def test_eight_at_once_all_get_the_files(tmp_path, server):
    load(tmp_path / "first")  # loads the downloader
    failures = []

    def fetch():
        try:
            check_tiny(load(tmp_path / "shared"))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert in_raw(tmp_path / "shared") == sorted(NAMES)


def says_what_to_put_where(error, folder, files):
    text = str(error)
    assert f"{folder} lacks 4 of the 4 files of" in text
    return all(f"{name}  SHA-256 {files.sha256[name]}" in text for name in files.sha256)


@pytest.mark.parametrize("module", [mnist_set, fashion_mnist_set])
def test_without_download_the_error_says_what_to_put_where_at_once(tmp_path, module):
    function = {mnist_set: mnist, fashion_mnist_set: fashion_mnist}[module]
    started = time.perf_counter()
    with pytest.raises(DataError, match="fetching them is forbidden .download=False") as raised:
        function(tmp_path, download=False)
    assert time.perf_counter() - started < 1
    folder = tmp_path / module._FILES.folder / "raw"
    assert says_what_to_put_where(raised.value, folder, module._FILES)


def test_the_environment_keeps_from_fetching(tmp_path, server, monkeypatch):
    monkeypatch.setenv("CLASSICNETS_OFFLINE", "1")
    with pytest.raises(DownloadError, match="CLASSICNETS_OFFLINE forbids fetching them") as raised:
        load(tmp_path)
    assert says_what_to_put_where(raised.value, tmp_path / "MNIST/raw", mnist_set._FILES)
    assert server.asked == []
    monkeypatch.setenv("CLASSICNETS_OFFLINE", "0")
    check_tiny(load(tmp_path))


def test_offline_the_error_comes_within_a_second(tmp_path, server, monkeypatch):
    mirrors = ("http://no.such.host.invalid/", "https://nor.this.invalid/")
    monkeypatch.setattr(mnist_set, "_FILES", replace(mnist_set._FILES, mirrors=mirrors))

    def no_network(host, port):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    started = time.perf_counter()
    message = "offline, it seems: no address is known for no.such.host.invalid, nor.this.invalid"
    with pytest.raises(DownloadError, match=message) as raised:
        load(tmp_path)
    assert time.perf_counter() - started < 1
    assert says_what_to_put_where(raised.value, tmp_path / "MNIST/raw", mnist_set._FILES)
    assert not (tmp_path / "MNIST").exists()


def test_behind_a_proxy_the_mirrors_need_no_address_here(tmp_path, server, monkeypatch):
    monkeypatch.setattr(
        mnist_set, "_FILES", replace(mnist_set._FILES, mirrors=("http://no.such.invalid/",))
    )
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies it began with
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in list(server.files):
        server.files[f"http://no.such.invalid/{name}"] = server.files[name]
    check_tiny(load(tmp_path))


# The real data, where they are

DATA = os.environ.get("CLASSICNETS_TEST_DATA") or Path(__file__).parents[2] / "../shared/data"
REAL = Path(DATA, "mnist")
needs_mnist = pytest.mark.skipif(
    not (REAL / "MNIST/raw").is_dir(),
    reason=f"no MNIST in {REAL}; CLASSICNETS_TEST_DATA names the folder of the real data",
)


@pytest.fixture(scope="module")
def real():
    return mnist(REAL, normalize="paper", download=False)


def whole(loader):
    loader.set_epoch(0)
    batches = list(loader)
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


@needs_mnist
def test_mnist_is_55000_5000_10000_with_the_known_class_counts(real):
    parts = [real.train, real.val, real.test]
    assert [part.num_images for part in parts] == [55000, 5000, 10000]
    train, val, test = (whole(part)[1].bincount() for part in parts)
    assert (train + val).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_mnist
def test_padded_mnist_has_the_background_ink_and_mean_of_the_paper(real):
    images, _ = whole(real.test)
    assert images.shape == (10000, 1, 32, 32)
    assert images[:, :, 0, 0].unique().tolist() == pytest.approx([-0.1])
    assert [images.min().item(), images.max().item()] == pytest.approx([-0.1, 1.175], abs=1e-6)
    train, val = (whole(part)[0] for part in (real.train, real.val))
    mean = (train.double().mean() * 55 + val.double().mean() * 5).item() / 60
    assert mean == pytest.approx(0.130660 * 1.275 * 28**2 / 32**2 - 0.1, abs=1e-6)


@needs_mnist
def test_the_standard_constants_are_those_of_the_training_pictures():
    pixels = read_idx(REAL / "MNIST/raw" / NAMES[0], 3).flatten()
    counts = torch.bincount(pixels, minlength=256).double() / len(pixels)
    values = torch.arange(256).double() / 255
    mean = (counts * values).sum()
    std = (counts * (values - mean) ** 2).sum().sqrt()
    assert mean.item() == pytest.approx(mnist_set._FILES.mean, abs=1e-8)
    assert std.item() == pytest.approx(mnist_set._FILES.std, abs=1e-8)


@needs_mnist
def test_area_averaging_keeps_the_mean_of_mnist():
    small = mnist(REAL, image_size=16, normalize="none", download=False).test
    images, _ = whole(small)
    assert images.shape == (10000, 1, 16, 16)
    assert images.mean().item() == pytest.approx(0.132515, abs=1e-4)  # papers.md 8
