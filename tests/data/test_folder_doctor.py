import io
import json
import os
import struct
import warnings
import zlib
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import classicnets
from classicnets.data import doctor, image_folder
from classicnets.errors import DataError, StorageError

SMALL = {"image_size": 28, "batch_size": 4, "num_workers": 0}


def encoded(form, size=(48, 40), seed=0, **options):
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(stream, form, **options)
    return stream.getvalue()


def png_chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_of_size(width, height):
    """A header that promises much, and next to no data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def flipped(content):
    """A bit of the compressed pixels turned over, which the checksum shows."""
    place = content.index(b"IDAT") + 9
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


WHOLE = {form: encoded(form) for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP")}

# ending, content, the fault that has to be found
BAD = {
    "no bytes": (".jpg", b"", "empty"),
    "one byte": (".jpg", b"\xff", "not a picture"),
    "zeros": (".jpg", bytes(5000), "not a picture"),
    "random bytes": (".png", np.random.default_rng(0).bytes(5000), "not a picture"),
    "text": (".jpg", b"camera shy" * 100, "not a picture"),
    "html": (".png", b"<!DOCTYPE html><html>404</html>", "not a picture"),
    "svg": (".png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "pdf": (".jpg", b"%PDF-1.7\n" + bytes(500), "not a picture"),
    "postscript": (".jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "photoshop": (".png", b"8BPS\0\1" + bytes(500), "not a picture"),
    "zip": (".jpg", b"PK\3\4" + bytes(500), "not a picture"),
    "gzip": (".jpg", zlib.compress(bytes(500), wbits=31), "not a picture"),
    "tiff": (".jpg", encoded("TIFF"), "not a picture"),
    "icon": (".png", encoded("ICO"), "not a picture"),
    "program": (".gif", b"\x7fELF" + bytes(500), "not a picture"),
    "header alone": (".png", WHOLE["PNG"][:8], "not a picture"),
    "half a jpeg": (".jpg", WHOLE["JPEG"][: len(WHOLE["JPEG"]) // 2], "damaged"),
    "half a png": (".png", WHOLE["PNG"][: len(WHOLE["PNG"]) // 2], "damaged"),
    "half a webp": (".webp", WHOLE["WEBP"][: len(WHOLE["WEBP"]) // 2], "damaged"),
    "half a gif": (".gif", WHOLE["GIF"][: len(WHOLE["GIF"]) // 2], "damaged"),
    "half a bmp": (".bmp", WHOLE["BMP"][: len(WHOLE["BMP"]) // 2], "damaged"),
    "flipped bit": (".png", flipped(WHOLE["PNG"]), "damaged"),
    "bomb": (".png", png_of_size(50_000, 50_000), "too large"),
    "lesser bomb": (".png", png_of_size(9_000, 9_000), "too large"),
    "line": (".png", png_of_size(50_000, 1), "too large"),
    "copy": (".png", encoded("PNG", seed=2), "exact duplicate"),
    "copy at another size": (".png", encoded("PNG", (96, 80), seed=4), "near duplicate"),
    "copy as jpeg": (".jpg", encoded("JPEG", (60, 50), seed=6), "near duplicate"),
}


def plant(root, kinds=tuple(BAD)):
    """A folder of twenty sound pictures and one bad file of each kind, named for it."""
    for number in range(20):
        folder = root / ("a" if number % 2 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded("PNG", seed=number))
    for kind in kinds:
        ending, content, _ = BAD[kind]
        (root / "b" / f"x {kind}{ending}").write_bytes(content)


@pytest.mark.parametrize("kind", BAD)
def test_each_kind_of_bad_file_is_found_by_name(tmp_path, kind):
    plant(tmp_path, (kind,))
    ending, _, fault = BAD[kind]
    found = [one for one in doctor(tmp_path, num_workers=0).faults if one.kind == fault]
    assert [one.name for one in found] == [f"b/x {kind}{ending}"]
    assert str(tmp_path) not in found[0].detail


@pytest.mark.parametrize("kind", [kind for kind in BAD if "duplicate" not in BAD[kind][2]])
def test_without_the_doctor_a_bad_file_ends_in_an_error_that_names_it(tmp_path, kind):
    plant(tmp_path, (kind,))
    with pytest.raises(DataError, match=f"x {kind}"):
        image_folder(tmp_path, **SMALL)


def test_a_folder_with_all_kinds_of_bad_files_trains_after_the_doctor(tmp_path):
    plant(tmp_path)
    report = doctor(tmp_path)
    assert set(report.exclusions) == {f"b/x {kind}{BAD[kind][0]}" for kind in BAD}
    assert report.write_exclusions() == tmp_path / "exclude.json"
    splits = image_folder(tmp_path, **SMALL)
    assert splits.train.num_images + splits.val.num_images + splits.test.num_images == 20
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 2))
    history = classicnets.fit(model, splits.train, epochs=1, progress=False, device="cpu")
    assert len(history.epochs) == 1
    again = doctor(tmp_path)
    assert again.exclusions == {}
    assert again.excluded == len(BAD)


def test_nothing_is_deleted_and_earlier_exclusions_stay(tmp_path):
    plant(tmp_path, ("no bytes",))
    (tmp_path / "exclude.json").write_text(json.dumps({"a/1.png": "by hand"}))
    names = sorted(tmp_path.rglob("*"))
    doctor(tmp_path).write_exclusions()
    assert sorted(tmp_path.rglob("*")) == names
    assert json.loads((tmp_path / "exclude.json").read_text()) == {
        "a/1.png": "by hand",
        "b/x no bytes.jpg": "empty: it has 0 bytes",
    }


def test_a_list_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    plant(tmp_path, ("no bytes",))
    report = doctor(tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(StorageError, match="cannot write .*No space left.*Report.exclusions"):
        report.write_exclusions()
    assert not (tmp_path / "exclude.json").exists()


def test_a_sound_folder_has_no_faults(folder):
    report = doctor(folder)
    assert report.faults == ()
    assert report.classes == {"ants": 10, "bees": 10}
    json.dumps(report.to_dict())


def test_copies_in_another_class_are_both_excluded(folder):
    copy = folder / "bees" / "ant.png"
    copy.write_bytes((folder / "ants" / "ant.3.png").read_bytes())
    faults = {fault.name: fault.detail for fault in doctor(folder).faults}
    assert set(faults) == {"ants/ant.3.png", "bees/ant.png"}
    assert faults["bees/ant.png"].startswith("the same file as ants/ant.3.png, of another class")


@pytest.mark.parametrize(
    ("name", "kind", "excluded"),
    [("ants/mirror.png", "near duplicate", 1), ("bees/mirror.png", "mirror image", 0)],
)
def test_mirror_images_are_near_duplicates_within_a_class(folder, name, kind, excluded):
    path = folder / "ants" / "ant.0.png"
    with Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / name)
    report = doctor(folder)
    (fault,) = report.faults
    assert (fault.name, fault.kind, len(report.exclusions)) == (name, kind, excluded)
    assert "ants/ant.0.png" in fault.detail


def test_of_near_duplicates_of_two_classes_none_stays(folder):
    with Image.open(folder / "ants" / "ant.0.png") as image:
        image.resize((90, 80)).save(folder / "bees" / "larger.png")
        image.resize((120, 100)).save(folder / "bees" / "largest.png")
    alike = {"ants/ant.0.png", "bees/larger.png", "bees/largest.png"}
    assert set(doctor(folder).exclusions) == alike


def test_small_pictures_that_look_alike_are_left_alone(folder):
    ring = Image.new("L", (28, 28))
    ring.paste(255, (8, 4, 20, 24))
    for level in range(3):
        ring.putpixel((0, 0), level)
        ring.save(folder / "ants" / f"ring.{level}.png")
    assert {fault.kind for fault in doctor(folder).faults} == {"mode", "small"}


def test_a_gif_that_ends_anywhere_is_left_out_if_its_first_frame_cannot_be_read(folder):
    frames = [Image.fromarray(np.full((40, 40), level, np.uint8)) for level in (0, 99, 200)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    content = stream.getvalue()
    for end in range(1, len(content), 7):
        (folder / "ants" / f"{end:04}.gif").write_bytes(content[:end])
    report = doctor(folder)
    readable = set()
    for path in (folder / "ants").glob("*.gif"):
        with warnings.catch_warnings(), suppress(DataError):
            warnings.simplefilter("ignore")
            classicnets.pictures.read_picture(path)
            readable.add(f"ants/{path.name}")
    left_out = {fault.name for fault in report.faults if fault.kind in ("damaged", "not a picture")}
    assert readable
    assert left_out == {f"ants/{path.name}" for path in (folder / "ants").glob("*.gif")} - readable


def test_duplicates_across_parts_come_first(folder):
    for number in range(30):
        source = folder / "ants" / f"ant.{number % 4}.png"
        (folder / "ants" / f"copy.{number:02}.png").write_bytes(source.read_bytes())
    crosses = [fault.crosses for fault in doctor(folder).faults if "duplicate" in fault.kind]
    assert crosses == sorted(crosses, reverse=True)
    assert set(crosses) == {True, False}


def test_a_class_that_loses_all_its_pictures_is_told(folder):
    for path in (folder / "bees").iterdir():
        path.write_bytes(b"no picture")
    (fault,) = [fault for fault in doctor(folder).faults if fault.kind == "empty class"]
    assert (fault.name, fault.detail) == ("bees", "all its pictures are to be left out")


def test_duplicates_across_the_parts_of_the_split_are_told(folder):
    for number in range(10):
        name = f"{number}0 copy.png"
        original = folder / "ants" / f"ant.{number}.png"
        with Image.open(original) as image:
            image.resize((70, 60), Image.Resampling.NEAREST).save(folder / "ants" / name)
    report = doctor(folder, split=(0.5, 0.25, 0.25))
    ways = Counter("they lie in" in fault.detail for fault in report.faults)
    assert ways[True] + ways[False] == 10
    assert ways[True] >= 2
    assert any("they lie in train and test" in f.detail for f in report.faults) or any(
        "they lie in test and train" in f.detail for f in report.faults
    )


@pytest.mark.parametrize(
    ("name", "write", "kind", "detail"),
    [
        ("cmyk.jpg", lambda im, p: im.convert("CMYK").save(p), "mode", "CMYK; they become RGB"),
        ("grey.png", lambda im, p: im.convert("L").save(p), "mode", "are L"),
        ("deep.png", lambda im, p: Image.fromarray(
            np.asarray(im.convert("L")).astype(np.uint16) * 257).save(p), "mode", "are I;16"),
        ("clear.png", lambda im, p: im.convert("RGBA").save(p), "mode", "are RGBA"),
        ("moving.gif", lambda im, p: im.save(
            p, save_all=True, append_images=[im.rotate(90)]), "moving", "first frame"),
        ("really a png.jpg", lambda im, p: im.save(p, "PNG"), "wrong ending", "it is PNG"),
        ("tiny.png", lambda im, p: im.resize((8, 8)).save(p), "small", "8x8 pixels in"),
        ("blank.png", lambda im, p: Image.new("RGB", (64, 64)).save(p), "one colour", "nothing"),
        ("notes.txt", lambda im, p: p.write_text("x"), "passed over", "its ending is none of .jpg"),
        ("gone.png", lambda im, p: p.symlink_to("nowhere"), "passed over", "a broken link"),
        ("pipe.png", lambda im, p: os.mkfifo(p), "passed over", "no regular file"),
        ("../stray.png", lambda im, p: im.save(p), "passed over", "beside the class folders"),
    ],
)  # fmt: skip
def test_oddities_are_told_and_not_excluded(folder, draw, tmp_path, name, write, kind, detail):
    with Image.open(draw(tmp_path / "new.png", 999)) as image:
        write(image, folder / "ants" / name)
    report = doctor(folder)
    assert any(fault.kind == kind and detail in fault.detail for fault in report.faults)
    assert report.exclusions == {}


def test_an_empty_class_is_told(folder):
    (folder / "wasps").mkdir()
    report = doctor(folder)
    assert [(fault.name, fault.kind) for fault in report.faults] == [("wasps", "empty class")]
    assert report.classes == {"ants": 10, "bees": 10, "wasps": 0}


def test_cats_and_dogs_by_name_are_examined_too(tmp_path, draw):
    for number in range(3):
        draw(tmp_path / f"cat.{number}.jpg", number)
        draw(tmp_path / f"dog.{number}.jpg", 10 + number)
    assert doctor(tmp_path).classes == {"cat": 3, "dog": 3}


def test_a_folder_of_no_known_form_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no folder; image_folder needs a folder for each"):
        doctor(tmp_path)


def test_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    plant(tmp_path, ("lesser bomb", "line"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *a: pytest.fail("decoded"))
    for name in ("x lesser bomb.png", "x line.png"):
        with pytest.raises(DataError, match="the picture is"):
            classicnets.data.picture_files.survey(str(tmp_path / "b" / name))


@settings(deadline=None, max_examples=60)
@given(
    form=st.sampled_from(sorted(WHOLE)),
    cut=st.floats(0, 1, exclude_max=True),
    noise=st.binary(max_size=20),
)
def test_damage_anywhere_is_a_picture_or_an_error_that_names_the_file(
    tmp_path_factory, form, cut, noise
):
    path = tmp_path_factory.mktemp("damage") / "some name.jpg"
    path.write_bytes(WHOLE[form][: int(cut * len(WHOLE[form]))] + noise)
    try:
        assert classicnets.pictures.read_picture(path).mode == "RGB"
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["cats-vs-dogs/Dog", "cats-vs-dogs-2000/dogs"])
def test_the_chapters_own_near_duplicate_is_found(real_pictures, tmp_path, name):
    for number in range(60, 190):
        (tmp_path / "dogs").mkdir(exist_ok=True)
        (tmp_path / "dogs" / f"dog.{number}.jpg").symlink_to(
            real_pictures / name / f"dog.{number}.jpg"
        )
    (tmp_path / "cats").mkdir()
    found = [fault for fault in doctor(tmp_path).faults if "duplicate" in fault.kind]
    assert [(fault.name, fault.kind) for fault in found] == [("dogs/dog.74.jpg", "near duplicate")]
