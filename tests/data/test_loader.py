import itertools
import pickle
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classicnets.data.loader import TensorLoader
from classicnets.errors import ConfigError, DataError, DeviceError
from classicnets.preparation import Preparation

CLASSES = ("a", "b", "c")


class Brighten:
    """Adds up to 50 levels, and shows which draws it got."""

    name = "brighten"
    draws = 2

    def __call__(self, images, draws):
        assert draws.shape == (len(images), 2)
        return images + draws.sum(1).view(-1, 1, 1, 1) * 25


def make(count=10, **options):
    """A loader of 2x2 pictures, the first two pixels of each telling its index."""
    index = torch.arange(count)
    images = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = index // 200, index % 200
    options = {"classes": CLASSES, "preparation": Preparation(2), "batch_size": 4, **options}
    return TensorLoader(images, index % 3, **options)


def indices(batches):
    """The index of each picture, batch by batch."""
    found = []
    for images, labels in batches:
        levels = (images * 255).round().long()
        found.append((levels[:, 0, 0, 0] * 200 + levels[:, 0, 0, 1]).tolist())
        assert labels.tolist() == [index % 3 for index in found[-1]]
    return found


def flat(batches):
    return [index for batch in indices(batches) for index in batch]


def equal(batches, others):
    batches, others = list(batches), list(others)
    return len(batches) == len(others) and all(
        torch.equal(a, b)
        for one, two in zip(batches, others, strict=True)
        for a, b in zip(one, two, strict=True)
    )


loaders = st.builds(
    make,
    count=st.integers(1, 300),
    batch_size=st.integers(1, 70),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**64),
    augment=st.sampled_from([None, Brighten()]),
    repeat=st.none() | st.integers(1, 4),
)
plain = st.builds(
    make,
    count=st.integers(1, 300),
    batch_size=st.integers(1, 70),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**64),
)
properties = settings(max_examples=60, deadline=None)


@properties
@given(plain, st.integers(0, 10**6))
def test_every_picture_comes_once_per_epoch(loader, epoch):
    loader.set_epoch(epoch)
    batches = indices(loader)
    assert len(batches) == len(loader)
    assert {len(batch) for batch in batches[:-1]} <= {loader.batch_size}
    assert sorted(index for batch in batches for index in batch) == list(range(loader.num_images))


@properties
@given(loaders, st.integers(0, 10**6), st.data())
def test_iterate_gives_the_tail_of_the_epoch(loader, epoch, data):
    start = data.draw(st.integers(0, len(loader)))
    loader.set_epoch(epoch)
    whole = list(loader)
    loader.set_epoch(epoch)
    assert equal(loader.iterate(start=start), whole[start:])


@properties
@given(st.integers(1, 4), st.integers(0, 50))
def test_epochs_repeat_as_often_as_wanted(repeat, epoch):
    loader = make(50, shuffle=True, augment=Brighten(), repeat=repeat)
    epochs = [list(loader) for _ in range(repeat)]
    for one, other in itertools.combinations(epochs, 2):
        assert not equal(one, other)
    loader.set_epoch(epoch)
    assert equal(loader, epochs[epoch % repeat])


@properties
@given(loaders, st.integers(0, 10**6), st.integers(1, 5))
def test_the_shards_of_a_batch_make_up_the_batch(loader, epoch, world_size):
    shards = [loader.shard(rank, world_size) for rank in range(world_size)]
    for each in (loader, *shards):
        assert len(each) == len(loader)
        each.set_epoch(epoch)
    for (images, labels), *parts in zip(loader, *shards, strict=True):
        sizes = [len(part_labels) for _, part_labels in parts]
        assert max(sizes) - min(sizes) <= 1
        assert torch.equal(torch.cat([part_images for part_images, _ in parts]), images)
        assert torch.equal(torch.cat([part_labels for _, part_labels in parts]), labels)


@properties
@given(loaders, st.integers(0, 10**6))
def test_seed_and_epoch_alone_make_the_batches(loader, epoch):
    other = deepcopy(loader)
    list(other), list(other)
    for each in (loader, other):
        each.set_epoch(epoch)
    torch.manual_seed(epoch)
    assert equal(loader, other)


@properties
@given(loaders, st.integers(0, 100))
def test_a_second_for_gives_the_next_epoch(loader, epoch):
    loader.set_epoch(epoch)
    list(loader)
    second = list(loader)
    loader.set_epoch(epoch + 1)
    assert equal(loader, second)


@properties
@given(st.integers(1, 70), st.integers(1, 70), st.booleans(), st.integers(0, 99))
def test_augmentation_depends_on_neither_batch_nor_order(batch_size, other_size, shuffle, epoch):
    def picture_by_index(size, shuffled):
        loader = make(100, batch_size=size, shuffle=shuffled, augment=Brighten())
        order = make(100, batch_size=100, shuffle=shuffled)
        for each in (loader, order):
            each.set_epoch(epoch)
        images = torch.cat([images for images, _ in loader])
        return images[torch.tensor(flat(order)).argsort()]

    assert torch.equal(picture_by_index(batch_size, shuffle), picture_by_index(other_size, False))


def test_iterate_counts_as_the_iteration_of_its_epoch():
    loader, other = make(shuffle=True), make(shuffle=True)
    loader.iterate(start=2)
    other.set_epoch(1)
    assert equal(loader, other)


def test_an_epoch_left_early_is_over():
    loader, other = make(shuffle=True), make(shuffle=True)
    next(iter(loader))
    other.set_epoch(1)
    assert equal(loader, other)


def test_orders_differ_between_epochs_and_seeds():
    loader = make(100, shuffle=True)
    orders = [flat(loader), flat(loader), flat(make(100, shuffle=True, seed=1))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_augmentation_differs_between_epochs_seeds_and_pictures():
    loader = make(100, augment=Brighten())
    first, second = (torch.cat([images for images, _ in loader]) for _ in range(2))
    other = torch.cat([images for images, _ in make(100, augment=Brighten(), seed=1)])
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)
    assert len(first[:, 0, 1, 1].unique()) > 90


def test_without_shuffling_pictures_come_as_they_lie():
    loader = make()
    assert indices(loader) == indices(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_is_the_callers_to_change(shuffle):
    loader = make(shuffle=shuffle)
    before = [(images.clone(), labels.clone()) for images, labels in loader]
    loader.set_epoch(0)
    kept = []
    for images, labels in loader:
        kept.append((images, labels))
        images.zero_()
        labels.fill_(7)
    loader.set_epoch(0)
    assert equal(loader, before)


def test_batches_are_float32_normalised_and_int64():
    preparation = Preparation(2, mean=(0.5,), std=(0.25,))
    images, labels = next(iter(make(preparation=preparation)))
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert images[0].unique().tolist() == [-2.0]


def test_inference_mode_gives_the_same_batches():
    loader = make(shuffle=True, augment=Brighten())
    whole = list(loader)
    loader.set_epoch(0)
    with torch.inference_mode():
        assert equal(loader, whole)


def test_a_loader_can_be_pickled():
    loader = make(shuffle=True)
    list(loader)
    assert equal(pickle.loads(pickle.dumps(loader)), loader)  # noqa: S301


def test_a_loader_on_its_device_is_itself():
    loader = make()
    assert loader.to("cpu") is loader
    assert loader.device == torch.device("cpu")


def test_a_moved_loader_counts_its_own_epochs():
    loader = make(shuffle=True)
    list(loader)
    moved = loader.to("meta")
    assert moved.device == torch.device("meta")
    assert loader.device == torch.device("cpu")
    assert moved.settings == loader.settings
    moved.set_epoch(9)
    other = make(shuffle=True)
    other.set_epoch(1)
    assert equal(loader, other)


@pytest.mark.parametrize("augment", [None, Brighten()])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("at_once", [2, 3, 100])
def test_batches_prepared_together_are_those_prepared_one_by_one(
    monkeypatch, at_once, shuffle, augment
):
    loader = make(22, shuffle=shuffle, augment=augment)
    plain = [list(loader.iterate(start)) for start in (0, 2)]
    part = list(loader.shard(1, 2))
    monkeypatch.setattr(TensorLoader, "_batches_at_once", lambda loader: at_once)
    loader.set_epoch(0)
    assert equal(plain[0], loader.iterate(0))
    assert equal(plain[1], loader.iterate(2))
    assert equal(part, loader.shard(1, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("augment", [None, Brighten()])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_on_the_gpu_are_those_of_the_cpu(shuffle, augment):
    loader = make(shuffle=shuffle, augment=augment)
    moved = loader.to("cuda")
    for (images, labels), (theirs, their_labels) in zip(loader, moved, strict=True):
        assert theirs.device.type == their_labels.device.type == "cuda"
        torch.testing.assert_close(theirs.cpu(), images)
        assert torch.equal(their_labels.cpu(), labels)


def test_shards_start_at_the_epoch_of_the_whole():
    loader = make(shuffle=True)
    list(loader)
    shard = loader.shard(0, 1)
    assert equal(shard, loader)


def test_a_last_batch_smaller_than_the_ranks_leaves_some_empty():
    sizes = [len(labels) for _, labels in make(9).shard(1, 2)]
    assert sizes == [2, 2, 0]


def test_settings_identify_the_batches():
    loader = make(shuffle=True, seed=3, augment=Brighten(), name="toys")
    assert loader.settings == {
        "name": "toys",
        "num_images": 10,
        "batch_size": 4,
        "shuffle": True,
        "seed": 3,
        "augment": "brighten",
        "repeat": None,
        "classes": ["a", "b", "c"],
        "preparation": Preparation(2).to_dict(),
    }
    assert loader.shard(1, 2).settings == loader.settings
    assert make().settings["augment"] is None


def test_a_loader_says_what_it_holds():
    assert repr(make(name="toys")) == "TensorLoader(toys, 10 images in batches of 4)"


IMAGES = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)


def load(images=IMAGES, labels=(0, 1, 2), **options):
    labels = torch.as_tensor(labels)
    options = {"classes": CLASSES, "preparation": Preparation(2), **options}
    return TensorLoader(images, labels, **options)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1, 2], r"labels\[1\] is -1; with 3 classes the labels are 0 to 2"),
        ([0, 1, 3], r"labels\[2\] is 3; with 3 classes"),
        ([-100, 1, 2], r"labels\[0\] is -100"),
        ([0, 9, -4], r"labels\[1\] is 9"),
        ([0.0, 1.0, 2.0], r"labels are torch.float32 of shape \(3,\); give torch.int64"),
        ([0.0, float("nan"), 2.0], "labels are torch.float32"),
        (torch.eye(3, dtype=torch.int64), r"labels are torch.int64 of shape \(3, 3\)"),
        (torch.zeros(3, dtype=torch.uint8), "labels are torch.uint8"),
        ([0, 1], "there are 3 images and 2 labels; give one each"),
        ([0, 1, 2, 0], "there are 3 images and 4 labels"),
    ],
)
def test_wrong_labels_are_named(labels, message):
    with pytest.raises(DataError, match=message):
        load(labels=labels)


@pytest.mark.parametrize(
    "images",
    [IMAGES.float(), IMAGES[:, 0], IMAGES.expand(3, 3, 2, 2), IMAGES[..., :1]],
    ids=["float", "three dimensions", "colour", "narrow"],
)
def test_other_images_than_the_preparations_are_refused(images):
    with pytest.raises(DataError, match=r"the preparation wants torch.uint8 of shape \(N, 1, 2, 2"):
        load(images)


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="images has no pictures; a loader needs at least 1"):
        load(IMAGES[:0], [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number, at least 1"),
        ({"batch_size": "64"}, "batch_size is '64'"),
        ({"batch_size": 2.0}, "batch_size is 2.0"),
        ({"seed": -1}, "seed is -1; it must be a whole number, at least 0"),
        ({"seed": None}, "seed is None"),
        ({"seed": True}, "seed is True"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        load(**options)


def test_a_start_outside_the_epoch_is_refused_at_once():
    loader = make()
    with pytest.raises(ConfigError, match="start is 4; the epoch has 3 batches, give 0 to that"):
        loader.iterate(start=4)
    with pytest.raises(ConfigError, match="start is -1; it must be a whole number, at least 0"):
        loader.iterate(start=-1)
    assert list(loader.iterate(start=3)) == []


def test_a_negative_epoch_is_refused():
    with pytest.raises(ConfigError, match="epoch is -1; it must be a whole number, at least 0"):
        make().set_epoch(-1)


def test_ranks_outside_the_world_are_refused():
    loader = make()
    with pytest.raises(ConfigError, match="rank is 2; with world_size 2 it is below that"):
        loader.shard(2, 2)
    with pytest.raises(ConfigError, match="world_size is 0; it must be a whole number, at least 1"):
        loader.shard(0, 0)
    with pytest.raises(ConfigError, match="is a shard already; shard the loader it came from"):
        loader.shard(0, 2).shard(0, 2)


@pytest.mark.parametrize("device", ["gpu0", "cuda:99"])
def test_a_device_that_does_not_exist_is_named(device):
    with pytest.raises(
        DeviceError, match=f"device is '{device}', and the data cannot be put there"
    ):
        make().to(device)
