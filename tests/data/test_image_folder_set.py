import io
import json
import random
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import classicnets
from classicnets.data import doctor, image_folder
from classicnets.errors import ConfigError, DataError, DeviceError
from classicnets.training.events import each_step

SMALL = {"image_size": 28, "batch_size": 4, "num_workers": 0}


def equal(batches, others):
    batches, others = list(batches), list(others)
    return len(batches) == len(others) and all(
        torch.equal(a, b)
        for one, two in zip(batches, others, strict=True)
        for a, b in zip(one, two, strict=True)
    )


def test_a_folder_becomes_three_loaders_of_sorted_classes(folder):
    splits = image_folder(folder, **SMALL)
    assert splits.classes == ("ants", "bees")
    parts = (splits.train, splits.val, splits.test)
    assert [part.num_images for part in parts] == [16, 2, 2]
    for part in parts:
        images, labels = next(iter(part))
        assert images.shape[1:] == (3, 28, 28)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
    assert (
        sorted(label for _, labels in splits.train for label in labels.tolist())
        == [0] * 8 + [1] * 8
    )


def test_options_make_the_same_splits_again_after_json(folder):
    one = image_folder(folder, augment="alexnet2012", resize=32, **SMALL)
    two = image_folder(folder, **json.loads(json.dumps(one.options)))
    assert equal(one.train, two.train)
    assert equal(one.val, two.val)
    assert one.train.settings == two.train.settings
    json.dumps(one.train.settings)


@pytest.mark.parametrize("augment", [None, "crop-flip", "alexnet2012"])
def test_batches_do_not_depend_on_workers_or_cache(folder, augment):
    options = {**SMALL, "augment": augment, "resize": 32}
    expected = list(image_folder(folder, **options).train)
    for num_workers in (1, 3):
        for cache in ("memory", "disk", "none"):
            other = image_folder(folder, **{**options, "num_workers": num_workers, "cache": cache})
            assert equal(other.train, expected), (num_workers, cache)


def test_epochs_and_seeds_differ_and_repeat(folder):
    train = image_folder(folder, **SMALL).train
    epochs = [list(train) for _ in range(3)]
    assert not any(equal(one, two) for one, two in pairwise(epochs))
    train.set_epoch(1)
    assert equal(train, epochs[1])
    assert not equal(image_folder(folder, seed=1, **SMALL).train, epochs[0])


def test_each_picture_draws_its_own_crop_and_flip(tmp_path, folder):
    for number in range(10):  # all of one class alike
        (folder / "ants" / f"ant.{number}.png").write_bytes(
            (folder / "ants" / "ant.0.png").read_bytes()
        )
    train = image_folder(folder, **{**SMALL, "batch_size": 16}).train
    images, labels = next(iter(train))
    ants = images[labels == 0]
    assert len(ants.flatten(1).unique(dim=0)) == len(ants)


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_an_epoch_goes_on_from_any_batch_and_in_shards(tmp_path_factory, data):
    train = loader_of(tmp_path_factory)
    epoch, start = data.draw(st.integers(0, 5)), data.draw(st.integers(0, len(train)))
    world_size = data.draw(st.integers(1, 5))
    train.set_epoch(epoch)
    whole = list(train)
    train.set_epoch(epoch)
    assert equal(train.iterate(start), whole[start:])
    shards = []
    for rank in range(world_size):
        shard = train.shard(rank, world_size)
        shard.set_epoch(epoch)
        assert len(shard) == len(train)
        assert shard.settings == train.settings
        shards.append(list(shard))
    joined = [
        tuple(torch.cat(parts) for parts in zip(*batch, strict=True))
        for batch in zip(*shards, strict=True)
    ]
    assert equal(joined, whole)


_loaders = []


def loader_of(tmp_path_factory):
    if not _loaders:
        root = tmp_path_factory.mktemp("pictures")
        for number in range(14):
            path = root / ("a" if number % 2 else "b") / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (33, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        _loaders.append(image_folder(root, split=(0.8, 0, 0.2), **SMALL).train)
    return _loaders[0]


def test_a_run_killed_anywhere_goes_on_to_the_same_bits(folder, tmp_path):
    def run(resume=False, stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 2))
        splits = image_folder(folder, **{**SMALL, "num_workers": 2})
        steps = []

        def stop(event):
            steps.append(event)
            return stop_at is not None and len(steps) >= stop_at

        history = classicnets.fit(
            model,
            splits.train,
            val_loader=splits.val,
            epochs=3,
            progress=False,
            device="cpu",
            callbacks=[each_step(stop)],
            checkpoint_dir=tmp_path / "checkpoints" if stop_at or resume else None,
            checkpoint_every=1 if stop_at or resume else None,
            resume=resume,
        )
        return model, history

    whole, history = run()
    run(stop_at=6)
    resumed, again = run(resume=True)
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )
    assert again.step_losses == history.step_losses


def test_a_changed_picture_changes_the_identity_of_the_data(folder):
    before = image_folder(folder, **SMALL).train.settings
    assert image_folder(folder, **SMALL).train.settings == before
    for path in folder.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    after = image_folder(folder, **SMALL).train.settings
    assert before["files"] != after["files"]


def test_evaluation_pictures_are_torchvisions_resize_and_centre_crop(real_pictures):
    from torchvision.transforms import v2

    root = real_pictures / "cats-vs-dogs"
    test = classicnets.data.cats_vs_dogs(root, split="textbook").test
    steps = [
        v2.Resize(256),
        v2.CenterCrop(224),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    images, _ = next(iter(test))
    names = sorted(chapter_order(root)[-10:])
    for image, name in zip(images, names, strict=True):
        with Image.open(root / name) as picture:
            expected = v2.Compose(steps)(picture.convert("RGB"))
        difference = (image - expected).abs() * 255 * 0.225  # in levels
        assert difference.max() < 2.1
        assert difference.mean() < 0.3
        assert torch.equal(test.preparation(root / name)[0], image)


def chapter_order(root):
    """The chapter's own lines: sorted paths, shuffled by the seed 42."""
    paths = sorted(
        f"{folder}/{path.name}" for folder in ("Cat", "Dog") for path in (root / folder).iterdir()
    )
    random.seed(42)
    random.shuffle(paths)
    return paths


def test_the_textbook_split_is_the_chapters(real_pictures):
    from classicnets.data.cats_vs_dogs_set import list_cats_and_dogs
    from classicnets.data.picture_splits import split_rows

    root = real_pictures / "cats-vs-dogs"
    files = list_cats_and_dogs(root)
    parts = split_rows(files, (), "textbook", 0)
    order = chapter_order(root)
    for part, expected in (("train", order[:400]), ("val", order[400:-10]), ("test", order[-10:])):
        assert [files.names[row] for row in parts[part]] == sorted(expected)


def test_one_picture_is_prepared_as_the_data_were(folder):
    splits = image_folder(folder, split=(0.5, 0, 0.5), **SMALL)
    prepared = [splits.preparation(path) for path in sorted(folder.rglob("*.png"))]
    found = torch.cat([images for images, _ in splits.test])
    for image in found:
        assert any(torch.equal(image[None], one) for one in prepared)


def test_without_augmentation_training_pictures_are_the_middle(folder):
    splits = image_folder(folder, augment=None, **SMALL)
    prepared = [splits.preparation(path)[0] for path in sorted(folder.rglob("*.png"))]
    for images, _ in splits.train:
        for image in images:
            assert any(torch.equal(image, one) for one in prepared)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_file_is_named_before_training(folder, num_workers):
    (folder / "bees" / "bee.3.png").write_bytes(b"<html>not found</html>")
    (folder / "ants" / "ant.3.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"ant\.3\.png cannot be read .*; of the others 1 cannot be used either"
    ):
        image_folder(folder, **{**SMALL, "num_workers": num_workers})


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_bad_files_are_skipped_on_request_counted_and_named(folder, cache):
    path = folder / "bees" / "bee.3.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (folder / "ants" / "ant.3.png").write_bytes(b"")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"2 files .*skipped:\n.*ant\.3\.png.*\n.*bee\.3\.png"):
            splits = image_folder(folder, cache=cache, on_bad="skip", max_skipped=0.1, **SMALL)
        assert splits.train.num_images + splits.val.num_images + splits.test.num_images == 18
        assert len(list(splits.train)) == len(splits.train)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_of_many_bad_files_no_more_are_skipped_than_allowed(folder, cache):
    for number in (3, 4):
        path = folder / "bees" / f"bee.{number}.png"
        path.write_bytes(path.read_bytes()[:100])
    message = r"2 of 20 files .* because .*bee\.3\.png.*; more than max_skipped=0.01 of them"
    with pytest.raises(DataError, match=message):
        image_folder(folder, cache=cache, on_bad="skip", **SMALL)
    (folder / "bees" / "bee.4.png").unlink()
    with pytest.warns(UserWarning, match="1 files"):  # one at least
        image_folder(folder, cache=cache, on_bad="skip", **SMALL)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def written(call, monkeypatch):
    """What a call writes to a terminal."""
    stream = Terminal()
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stderr", stream)
        call()
    return stream.getvalue()


def test_a_terminal_shows_a_bar_while_the_doctor_looks(folder, monkeypatch):
    assert written(lambda: doctor(folder), monkeypatch) == ""
    assert "examining pictures" in written(lambda: doctor(folder, progress=True), monkeypatch)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_a_terminal_shows_a_bar_while_pictures_are_read(folder, cache, monkeypatch):
    def load(**progress):
        image_folder(folder, **SMALL, cache=cache, on_bad="skip", **progress)

    assert written(load, monkeypatch) == ""
    text = written(lambda: load(progress=True), monkeypatch)
    assert ("reading pictures" in text) == (cache != "memory")  # which reads and decodes at once
    assert "decoding pictures" in text or cache == "disk"  # decoded by the call before


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_file_that_goes_bad_during_training_is_named(folder, num_workers):
    train = image_folder(folder, **{**SMALL, "cache": "none", "num_workers": num_workers}).train
    for path in folder.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"(ant|bee)\.[0-9]\.png cannot be read as a picture"):
        list(train)


def test_a_class_without_pictures_is_refused_however_it_lost_them(folder):
    (folder / "wasps").mkdir()
    with pytest.raises(DataError, match="class 'wasps' of .* has no pictures; put some there"):
        image_folder(folder, **SMALL)
    (folder / "wasps" / "wasp.0.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="1 files of .* are skipped"),
        pytest.raises(DataError, match="class 'wasps' of .* has no pictures"),
    ):
        image_folder(folder, on_bad="skip", **SMALL)


def test_excluded_files_take_no_part(folder):
    (folder / "ants" / "ant.3.png").write_bytes(b"")
    (folder / "exclude.json").write_text(json.dumps({"ants/ant.3.png": "empty"}))
    splits = image_folder(folder, split=(0.5, 0, 0.5), **SMALL)
    assert splits.train.num_images + splits.test.num_images == 19


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read: .*; remove it"), ("[]", "no JSON object")]
)
def test_a_damaged_list_of_exclusions_is_an_error(folder, text, message):
    (folder / "exclude.json").write_text(text)
    with pytest.raises(DataError, match=message):
        image_folder(folder, **SMALL)


def test_an_iteration_given_up_leaves_no_thread(folder):
    train = image_folder(folder, **{**SMALL, "num_workers": 3}).train
    before = threading.active_count()
    batches = iter(train)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_a_batch_is_the_callers_to_change(folder):
    train = image_folder(folder, **SMALL).train
    train.set_epoch(0)
    expected = [(images.clone(), labels.clone()) for images, labels in train]
    train.set_epoch(0)
    for images, labels in train:
        images.zero_()
        labels.zero_()
    train.set_epoch(0)
    assert equal(train, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size is 0; it must be a whole number, at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"memory_limit": -1}, "memory_limit is -1"),
        ({"resize": 20}, "resize is 20; squares of image_size 28 are cut from .* at least that"),
        ({"cache": "ram"}, "cache is 'ram'; it is one of auto, memory, disk, none"),
        ({"on_bad": "ignore"}, "on_bad is 'ignore'; it is 'error' or 'skip'"),
        ({"max_skipped": 2}, "max_skipped is 2; it is a part, 0 to 1"),
        ({"augment": "mixup"}, "augment is 'mixup'; it is None or one of crop-flip, alexnet2012"),
        ({"split": "random"}, "split is 'random'; give three fractions that add up to 1"),
        ({"split": (0.5, 0.5)}, r"split is \(0.5, 0.5\); give three fractions"),
        ({"split": (0.9, 0.1, 0.1)}, "three fractions that add up to 1"),
        ({"split": {"train": (1, 5), "val": (5, 9)}}, "that lie in no other part"),
        ({"split": {"training": (1, 5)}}, "its parts are train, val, test"),
    ],
)
def test_an_option_that_cannot_work_is_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        image_folder(folder, **{**SMALL, **options})


def test_a_device_that_does_not_exist_is_refused(folder):
    with pytest.raises(DeviceError, match="device is 'cuda:99', and the data cannot be put there"):
        image_folder(folder, device="cuda:99", **SMALL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda loader: loader.iterate(99), r"start is 99; the epoch has \d batches"),
        (lambda loader: loader.shard(2, 2), "rank is 2; with world_size 2 it is below that"),
        (lambda loader: loader.shard(0, 2).shard(0, 2), "is a shard already"),
        (lambda loader: loader.set_epoch(-1), "epoch is -1"),
    ],
)
def test_a_wrong_call_of_the_loader_is_refused(folder, call, message):
    with pytest.raises(ConfigError, match=message):
        call(image_folder(folder, **SMALL).train)
