"""Pictures of your own: a folder with one subfolder a class, here circles and squares drawn by it.

python examples/your_own_pictures.py        ends in the test accuracy, 1.0 or a little less
"""

import random
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import classicnets


def draw_pictures(root: Path, count: int) -> None:
    """Draw `count` pictures of each class, bright on dark, in many colours, sizes and places."""
    dice = random.Random(0)
    for name in ("circle", "square"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            ground = tuple(dice.randint(0, 110) for _ in "RGB")
            ink = tuple(dice.randint(140, 255) for _ in "RGB")
            picture = Image.new("RGB", (64, 48), ground)
            side, x, y = dice.randint(18, 28), dice.randint(8, 24), dice.randint(4, 14)
            pen = ImageDraw.Draw(picture)
            draw = pen.ellipse if name == "circle" else pen.rectangle
            draw((x, y, x + side, y + side), fill=ink)
            picture.save(root / name / f"{number}.png")


def main(count: int = 150, epochs: int = 20) -> float:
    with tempfile.TemporaryDirectory() as folder:
        draw_pictures(Path(folder), count)
        data = classicnets.data.image_folder(folder, image_size=32, resize=36, cache="memory")
        model = classicnets.LeNet5(2, in_channels=3, activation="relu", pooling="max")
        classicnets.fit(model, data.train, val_loader=data.val, epochs=epochs, lr=0.003, seed=0)
        result = classicnets.evaluate(model, data.test)
        print(result)

        answer = classicnets.predict(
            model, Path(folder) / "circle" / "0.png", transform=data.preparation
        )
        print("circle/0.png is a", data.classes[answer.labels[0]])
    return result.accuracy


if __name__ == "__main__":
    print(main())
