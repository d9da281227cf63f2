import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classicnets.data.picture_files import PictureFiles
from classicnets.data.picture_splits import check_split, split_rows
from classicnets.errors import ConfigError, DataError


def files(cats, dogs):
    names = [f"Cat/cat.{n}.jpg" for n in range(cats)] + [f"Dog/dog.{n}.jpg" for n in range(dogs)]
    return PictureFiles(Path(), tuple(names), (0,) * cats + (1,) * dogs, ("Cat", "Dog"))


def digests(listed):
    return [hashlib.sha256(name.encode()).digest() for name in listed.names]


def rows(listed, split, seed=0):
    parts = split_rows(listed, digests(listed), split, seed)
    return {part: found.tolist() for part, found in parts.items()}


@settings(deadline=None)
@given(cats=st.integers(5, 60), dogs=st.integers(5, 60), seed=st.integers(0, 99))
def test_fractions_cut_each_class_and_lose_no_picture(cats, dogs, seed):
    listed = files(cats, dogs)
    found = rows(listed, (0.6, 0.2, 0.2), seed)
    assert sorted(row for own in found.values() for row in own) == list(range(cats + dogs))
    for label, count in ((0, cats), (1, dogs)):
        test = [row for row in found["test"] if listed.labels[row] == label]
        assert len(test) == round(0.2 * count)
    assert found == rows(listed, (0.6, 0.2, 0.2), seed)


def test_seeds_give_other_splits():
    assert rows(files(50, 50), (0.8, 0.1, 0.1), 0) != rows(files(50, 50), (0.8, 0.1, 0.1), 1)


@settings(deadline=None)
@given(removed=st.sets(st.integers(0, 199), max_size=50))
def test_by_content_a_picture_never_changes_its_part(removed):
    whole = files(100, 100)
    names = {part: {whole.names[row] for row in own} for part, own in rows(whole, "hash").items()}
    left = PictureFiles(
        Path(),
        tuple(name for row, name in enumerate(whole.names) if row not in removed),
        tuple(label for row, label in enumerate(whole.labels) if row not in removed),
        whole.classes,
    )
    for part, own in rows(left, "hash", seed=5).items():
        assert {left.names[row] for row in own} <= names[part]


def test_by_content_the_parts_have_about_their_fractions():
    found = rows(files(1000, 1000), "hash")
    assert abs(len(found["train"]) - 1600) < 80
    assert abs(len(found["val"]) - 200) < 60


@pytest.mark.parametrize(
    "split",
    [
        "half",
        3,
        (0.5, 0.5),
        ("0.5", "0.25", "0.25"),
        (0.5, 0.6, -0.1),
        {"train": 5},
        {"train": (1,)},
        {"train": ("a", "b")},
        {"train": (1, 5), "test": (5, 9)},
        {"train": (5, 1), "test": (6, 9)},
        {"train": (1, 5), "rest": (6, 9)},
    ],
    ids=str,
)
def test_what_is_no_split_is_refused(split):
    with pytest.raises(ConfigError, match=r"^split is "):
        check_split(split)


def test_the_rest_may_be_many_numbers():
    found = rows(files(8, 8), {"train": (0, 3), "test": (4, 10**12)})
    assert len(found["test"]) == 8


def test_the_chapters_split_of_other_pictures_warns():
    with pytest.warns(
        UserWarning, match="there are 600 pictures; of others than the chapter's 502"
    ):
        rows(files(300, 300), "textbook")


def test_numbers_name_the_pictures_of_each_part():
    split = {"train": (0, 3), "test": (5, 6)}
    found = rows(files(8, 8), split)
    assert found == {"train": [0, 1, 2, 3, 8, 9, 10, 11], "val": [], "test": [5, 6, 13, 14]}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ((0, 0.5, 0.5), "of 8 pictures leaves none to train"),
        ((1, 0, 0), "leaves none to test; add pictures or split otherwise"),
        ({"train": (0, 3)}, "leaves none to test"),
        ("textbook", "takes 400 pictures to train and 10 to test .*; there are 8"),
    ],
)
def test_a_part_left_empty_is_an_error(split, message):
    with pytest.raises(DataError, match=message):
        rows(files(4, 4), split)
