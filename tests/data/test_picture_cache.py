import os
import time
from functools import partial

import pytest
import torch

from classicnets.data import image_folder
from classicnets.data.picture_cache import in_memory, on_disk
from classicnets.data.picture_files import list_folders, survey
from classicnets.errors import StorageError


def cached(root):
    files = list_folders(root)
    digests = [survey(path) for path in files.paths]
    return on_disk(root, files.paths, digests, 32, 0)[0]


def cache_files(root):
    return [path for path in root.parent.iterdir() if path.name.startswith(f".{root.name}-")]


def equal(pictures, others):
    return len(pictures) == len(others) and all(
        torch.equal(pictures[row], others[row]) for row in range(len(pictures))
    )


def test_the_disk_gives_what_memory_would(folder):
    paths = list_folders(folder).paths
    found = in_memory(paths, 32, 0)
    assert [one.digest for one in found] == [survey(path) for path in paths]
    expected = [one.pixels for one in found]
    assert all(min(picture.shape[:2]) == 32 for picture in expected)
    assert equal(cached(folder), expected)
    assert equal(cached(folder), expected)
    assert len(cache_files(folder)) == 1


def test_a_second_use_decodes_nothing(folder, monkeypatch):
    cached(folder)
    monkeypatch.setattr("classicnets.data.picture_cache.read_pixels", None)
    assert len(cached(folder)) == 20


def test_a_changed_picture_is_seen_though_size_and_time_stay(folder):
    before = [cached(folder)[row].clone() for row in range(20)]
    one, two = folder / "ants" / "ant.0.png", folder / "ants" / "ant.1.png"
    content = [path.read_bytes() for path in (one, two)]
    length = max(map(len, content))
    for path, other in ((one, content[1]), (two, content[0])):
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(other.ljust(length, b"\0"))
        os.utime(path, ns=times)
    after = cached(folder)
    assert torch.equal(after[0], before[1])
    assert torch.equal(after[1], before[0])
    assert len(cache_files(folder)) == 1


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:40], lambda b: b"", None])
def test_a_cache_that_is_not_whole_is_made_again(folder, damage):
    expected = [cached(folder)[row].clone() for row in range(20)]
    (path,) = cache_files(folder)
    content = path.read_bytes()
    path.write_bytes(damage(content) if damage else content[:-60] + bytes([1]) + content[-59:])
    assert equal(cached(folder), expected)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "numpy.array"])
def test_a_cache_is_whole_or_absent_wherever_its_writer_dies(folder, monkeypatch, call):
    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(call, die)
        patch.setattr("pathlib.Path.unlink", lambda path, missing_ok: None)  # nor is it tidied up
        with pytest.raises(Killed):
            cached(folder)
    assert not [path for path in cache_files(folder) if path.suffix == ".pixels"]
    assert len(cached(folder)) == 20


def test_what_a_killed_writer_left_is_removed_after_an_hour(folder):
    stem = cache_name(folder)
    new, old = (folder.parent / f"{stem}.{kind}.tmp" for kind in ("new", "old"))
    for path in (new, old):
        path.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    other = folder.parent / f".{folder.name}-64-other.pixels"
    other.touch()
    (folder / "ants" / "ant.0.png").unlink()
    cached(folder)
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def cache_name(folder):
    cached(folder)
    return cache_files(folder)[0].name


def test_auto_keeps_in_memory_up_to_the_limit(folder):
    make = partial(image_folder, folder, image_size=28, num_workers=0)
    make(memory_limit=10**6)
    assert not cache_files(folder)
    make(memory_limit=10**4)
    assert len(cache_files(folder)) == 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_memory_is_given_up_as_soon_as_the_pictures_pass_the_limit(folder, num_workers):
    paths = list_folders(folder).paths
    needed = sum(one.pixels.numel() for one in in_memory(paths, 32, num_workers))
    assert in_memory(paths, 32, num_workers, needed) is not None
    assert in_memory(paths, 32, num_workers, needed - 1) is None
    assert in_memory(["not/looked/at.png"] * 20, 32, num_workers, 20 * 3 * 32 * 32 - 1) is None


def test_batches_do_not_depend_on_where_pictures_are_kept(folder):
    kept = [
        image_folder(folder, image_size=28, cache=cache, memory_limit=limit, num_workers=workers)
        for cache, limit in (("memory", 0), ("auto", 10**4), ("auto", 10**6), ("none", 0))
        for workers in (0, 3)
    ]
    first = [images for images, _ in kept[0].train]
    for others in kept[1:]:
        assert others.train.settings == kept[0].train.settings
        for images, (other, _) in zip(first, others.train, strict=True):
            assert torch.equal(images, other)


def test_a_disk_that_takes_nothing_is_an_error_with_remedies(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="cannot write the cache .*No space left.*'memory'"):
        cached(folder)
    assert not cache_files(folder)
