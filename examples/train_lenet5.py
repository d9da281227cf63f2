"""Train LeNet-5 on 1,200 handwritten digits and test it on 360 others: 15 seconds.

python examples/train_lenet5.py        ends in the test accuracy, about 0.93
"""

import classicnets


def main(epochs: int = 30) -> float:
    data = classicnets.data.digits(batch_size=32)
    model = classicnets.LeNet5()
    print(classicnets.summary(model))

    history = classicnets.fit(
        model,
        data.train,
        val_loader=data.val,
        epochs=epochs,
        lr=0.003,
        schedule="onecycle",
        seed=0,
    )
    print(f"best epoch by validation: {history.best_epoch} of {len(history.epochs)}")

    result = classicnets.evaluate(model, data.test)
    print(result)
    classicnets.plots.confusion(result.confusion, data.classes).savefig("confusion.png")
    return result.accuracy


if __name__ == "__main__":
    print(main())
