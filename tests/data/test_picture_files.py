import os

import pytest

from classicnets.data import doctor
from classicnets.data.cats_vs_dogs_set import folder_kind, list_cats_and_dogs
from classicnets.data.picture_files import in_threads, list_folders, survey
from classicnets.errors import DataError
from classicnets.pictures import picture_size


def test_names_are_sorted_and_labelled_by_their_folder(folder):
    files = list_folders(folder)
    assert list(files.names) == sorted(files.names)
    assert len(files) == 20
    for name, label, path in zip(files.names, files.labels, files.paths, strict=True):
        assert files.classes[label] == name.split("/")[0]
        assert path == f"{folder}/{name}"


@pytest.mark.parametrize(
    "name",
    [
        ".hidden/a.png",
        "ants/.a.png",
        "ants/Thumbs.db",
        "__MACOSX/ants/a.png",
        "stray.png",
        "ants/notes.txt",
        "ants/@eaDir/a.png",
    ],
)
def test_hidden_left_behind_and_stray_files_are_passed_over(folder, draw, tmp_path, name):
    expected = list_folders(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    draw(tmp_path / "a.png", 1).rename(folder / name)
    assert list_folders(folder) == expected


def test_pictures_in_folders_below_count_and_links_are_followed_once(folder, draw):
    draw(folder / "ants" / "red" / "deep" / "x.JPG", 1)
    (folder / "ants" / "red" / "up").symlink_to(folder / "ants")
    (folder / "wasps").symlink_to(folder / "bees")
    files = list_folders(folder)
    assert "ants/red/deep/x.JPG" in files.names
    assert len(files) == 31
    assert files.classes == ("ants", "bees", "wasps")


def test_a_pipe_is_no_picture(folder):
    expected = list_folders(folder)
    os.mkfifo(folder / "ants" / "pipe.png")
    (folder / "ants" / "broken.png").symlink_to(folder / "nowhere.png")
    assert list_folders(folder) == expected


@pytest.mark.parametrize("name", ["new\nline.png", "ÄÖ 한.png", "=1+1.png", b"\xff\xfe.png"])
def test_any_name_is_a_name(folder, name):
    path = os.path.join(os.fsencode(folder), b"ants", os.fsencode(name))  # noqa: PTH118
    os.rename(folder / "ants" / "ant.0.png", path)  # noqa: PTH104
    files = list_folders(folder)
    assert f"ants/{os.fsdecode(name)}" in files.names
    assert [picture_size(path)[1] for path in files.paths[:10]] == [40] * 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: root.rename(root.with_name("other")), "there is no folder .*check the path"),
        (lambda root: (root / "bees").rename(root / ".bees"), "has 1 folder, 'ants'; .*at least 2"),
        (lambda root: (root / "Ants").mkdir(), "'Ants' and 'ants', which differ in case alone"),
    ],
)
def test_a_folder_without_that_form_is_refused(folder, change, message):
    change(folder)
    with pytest.raises(DataError, match=message):
        list_folders(folder)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="the folder .* cannot be read: Not a directory"):
        list_folders(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no folder; image_folder needs a folder for each"):
        list_folders(tmp_path / "empty")


@pytest.mark.parametrize(
    "names",
    [
        ("Cat/1.png", "Cat/2.png", "Dog/1.png"),
        ("cats/cat.1.png", "cats/cat.2.png", "dogs/dog.1.png"),
        ("PetImages/Cat/0.png", "PetImages/Cat/1.png", "PetImages/Dog/0.png"),
        ("cat.0.png", "cat.1.png", "dog.0.png"),
        ("train/cat.0.png", "train/cat.1.png", "train/dog.0.png"),
    ],
)
def test_cats_and_dogs_are_found_in_every_form(tmp_path, draw, names):
    for name in names:
        draw(tmp_path / name, 1)
    draw(tmp_path / "readme.png", 1)
    files = list_cats_and_dogs(tmp_path)
    assert files.classes == ("cat", "dog")
    assert files.names == names
    assert files.labels == (0, 0, 1)


def test_a_folder_without_cats_and_dogs_is_refused(tmp_path, draw):
    with pytest.raises(DataError, match="there is no folder .*nowhere'; check the path"):
        list_cats_and_dogs(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no cats and dogs; they come as folders Cat and Dog"):
        list_cats_and_dogs(tmp_path)
    draw(tmp_path / "cat.1.png", 1)
    with pytest.raises(DataError, match="class 'dog' .* has no pictures; put some there or remove"):
        list_cats_and_dogs(tmp_path).check()


def test_parts_are_not_taken_for_classes(tmp_path, draw):
    for number, name in enumerate(("train/cats/1", "train/dogs/2", "validation/cats/3")):
        draw(tmp_path / f"{name}.png", number)
    with pytest.raises(DataError, match="the folders train, validation: parts, not classes; give"):
        list_folders(tmp_path)
    assert folder_kind(tmp_path) == "cats_vs_dogs"
    assert len(list_cats_and_dogs(tmp_path)) == 3


def test_the_reason_given_is_that_of_the_usual_form(tmp_path, draw):
    draw(tmp_path / "birds" / "1.png", 1)
    with pytest.raises(DataError, match="has 1 folder, 'birds'; image_folder needs a folder for"):
        folder_kind(tmp_path)


def test_links_to_themselves_and_back_up_give_no_picture(tmp_path, draw):
    for name in ("a/1.png", "b/2.png"):
        draw(tmp_path / name, 1)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "a" / "loop.png").symlink_to(tmp_path / "a" / "loop.png")
    (tmp_path / "a" / "up").symlink_to("..")
    assert list_folders(tmp_path).names == ("a/1.png", "b/2.png")
    passed_over = [fault for fault in doctor(tmp_path).faults if fault.kind == "passed over"]
    assert [(fault.name, fault.detail) for fault in passed_over] == [
        ("a/loop.png", "a broken link"),
        ("loop", "a broken link"),
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
def test_a_class_behind_a_folder_that_may_not_be_entered_is_no_class_less(tmp_path, draw):
    for name in ("cats/1.png", "dogs/2.png", "vault/birds/3.png"):
        draw(tmp_path / "pictures" / name, 1)
    (tmp_path / "pictures" / "vault").rename(tmp_path / "vault")
    (tmp_path / "pictures" / "birds").symlink_to(tmp_path / "vault" / "birds")
    (tmp_path / "vault").chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)  # for root may enter everything
    try:
        with pytest.raises(DataError, match=r"birds' cannot be read: Permission denied"):
            list_folders(tmp_path / "pictures")
    finally:
        os.seteuid(0)
        (tmp_path / "vault").chmod(0o755)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png' cannot be read: No such file"):
        survey(str(tmp_path / "gone.png"))


@pytest.mark.parametrize("num_workers", [0, 1, 4])
def test_threads_give_results_in_order_and_raise_in_their_place(num_workers):
    assert list(in_threads(lambda x: x * x, range(100), num_workers)) == [x * x for x in range(100)]
    quotients = in_threads(lambda x: 1 // (3 - x), range(10), num_workers)
    assert [next(quotients) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(quotients)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_threads_that_take_several_items_at_once_give_all_in_order(count, num_workers):
    results = in_threads(lambda x: x * x, range(count), num_workers, at_once=8)
    assert list(results) == [x * x for x in range(count)]


@pytest.mark.parametrize("at_once", [1, 4])
def test_threads_never_run_far_ahead(at_once):
    taken = []

    def items():
        for x in range(100):
            taken.append(x)
            yield x

    results = in_threads(lambda x: x, items(), 2, at_once)
    next(results)
    assert len(taken) <= 3 * at_once
    results.close()
