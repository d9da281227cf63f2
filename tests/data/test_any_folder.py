"""Folders of any shape, with pictures of any size, mode and form: all are read, and soundly."""

import io
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classicnets.data import doctor, image_folder

MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"),
    "gif": ("L", "P"),
}
FORMS = {"jpg": "JPEG"}
ORIENTATION = 0x0112
names = st.text("abcXYZ 019_-äß한=", min_size=1, max_size=8).filter(str.strip)
sides = st.one_of(st.integers(1, 8), st.integers(9, 120), st.sampled_from([224, 256, 300]))


@st.composite
def encoded(draw):
    """The bytes of a picture, and the ending of its name."""
    ending = draw(st.sampled_from(sorted(MODES)))
    mode, width, height = draw(st.sampled_from(MODES[ending])), draw(sides), draw(sides)
    height = min(max(height, -(-width // 20)), 20 * width)  # what is longer is refused
    pixels = np.random.default_rng(draw(st.integers(0, 2**16))).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        picture = picture.convert(mode)
    options = {}
    if ending == "jpg":
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = draw(st.integers(1, 8))
    stream = io.BytesIO()
    picture.save(stream, FORMS.get(ending, ending.upper()), **options)
    return stream.getvalue(), ending


@st.composite
def folders(draw):
    """Names of files below a folder for each class, some in folders of their own, and content."""
    classes = draw(
        st.lists(names, min_size=2, max_size=4, unique_by=(str.casefold, str.strip)),
    )
    files = {}
    for label in classes:
        for number in range(draw(st.integers(3, 5))):
            content, ending = draw(encoded())
            below = draw(st.sampled_from(["", "more/", "more/and more/"]))
            shout = draw(st.booleans())
            name = f"{label}/{below}{number}.{ending.upper() if shout else ending}"
            files[name] = content
    return files


options = st.fixed_dictionaries(
    {
        "image_size": st.integers(20, 40),
        "batch_size": st.integers(1, 5),
        "augment": st.sampled_from([None, "crop-flip", "alexnet2012"]),
        "cache": st.sampled_from(["memory", "disk", "none"]),
        "num_workers": st.integers(0, 2),
        "split": st.sampled_from([(0.5, 0, 0.5), (0.4, 0.3, 0.3)]),
        "seed": st.integers(0, 9),
    }
)


def batches(splits):
    parts = (splits.train, splits.val, splits.test)
    return [list(part) for part in parts if part is not None]


@settings(deadline=None, max_examples=60)
@given(files=folders(), chosen=options)
def test_any_folder_gives_its_classes_their_pictures_twice_alike_and_has_no_faults(files, chosen):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "pictures"
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        splits = image_folder(root, **chosen)
        found = batches(splits)
        size = chosen["image_size"]
        labels = Counter()
        for images, numbers in (batch for part in found for batch in part):
            assert images.shape == (len(numbers), 3, size, size)
            assert images.isfinite().all()
            labels.update(splits.classes[number] for number in numbers.tolist())
        assert labels == Counter(name.partition("/")[0] for name in files)

        # the same from elsewhere
        others = {"cache": "none", "num_workers": 0} if chosen["cache"] == "memory" else {}
        for part, again in zip(
            found, batches(image_folder(root, **{**chosen, **others})), strict=True
        ):
            for batch, other in zip(part, again, strict=True):
                assert all(torch.equal(one, two) for one, two in zip(batch, other, strict=True))

        report = doctor(root)
        broken = {"empty", "unreadable", "not a picture", "too large", "damaged", "passed over"}
        assert not [fault for fault in report.faults if fault.kind in broken]
        assert sum(report.classes.values()) == len(files)
