import json

import pytest

from classicnets.errors import DataError
from classicnets.training import EpochRecord, History

HISTORY = History(
    epochs=[
        EpochRecord(1, 2.25, 0.1, 2.0, 0.125, 0.01, 1.5, 100.0),
        EpochRecord(2, 1 / 3, None, None, None, 0.001, 1.25, 120.0),
    ],
    step_losses=[2.5, 2.0, 0.1],
    best_epoch=1,
    stopped="early stopping",
)


def test_dict_survives_json():
    assert History.from_dict(json.loads(json.dumps(HISTORY.to_dict()))) == HISTORY


def test_csv_keeps_every_bit_of_the_epochs(tmp_path):
    HISTORY.to_csv(tmp_path / "history.csv")
    assert History.from_csv(tmp_path / "history.csv").epochs == HISTORY.epochs
    first = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert first == (
        "epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr,seconds,images_per_second"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1,2\n", r"has the columns \['a', 'b'\]"), ("", "has the columns")],
)
def test_file_that_is_no_history_is_named(tmp_path, text, message):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        History.from_csv(tmp_path / "history.csv")


def test_cell_that_is_no_number_is_named(tmp_path):
    HISTORY.to_csv(tmp_path / "history.csv")
    text = (tmp_path / "history.csv").read_text().replace("2.25", "much")
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(DataError, match="is not a history"):
        History.from_csv(tmp_path / "history.csv")
