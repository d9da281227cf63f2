"""Export a net to ONNX and check that ONNX Runtime gives the same answers.

python examples/export_onnx.py        ends in the largest difference of two logits, below 1e-4

Needs the extra `export` and onnxruntime.
"""

import tempfile
import warnings
from pathlib import Path

import onnxruntime
import torch

import classicnets


def export(model: torch.nn.Module, path: Path) -> None:
    """Write a net that takes any number of pictures at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about itself
        torch.onnx.export(
            model.eval(),
            (torch.zeros(2, *model.input_shape),),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("count", min=1, max=4096)},),
            dynamo=True,
            verbose=False,
        )


def main(epochs: int = 5) -> float:
    data = classicnets.data.digits(batch_size=32)
    model = classicnets.LeNet5()
    classicnets.fit(model, data.train, val_loader=data.val, epochs=epochs, device="cpu", seed=0)
    images = torch.cat([images for images, _ in data.test])
    with torch.inference_mode():
        ours = model.eval()(images)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lenet5.onnx"
        export(model, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (theirs,) = session.run(None, {"images": images.numpy()})
    same = (ours.argmax(1).numpy() == theirs.argmax(1)).mean()
    print(f"{len(images)} digits, the same label for {100 * same:.0f} %")
    return float((ours - torch.from_numpy(theirs)).abs().max())


if __name__ == "__main__":
    print(main())
