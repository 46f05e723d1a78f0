import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench_deep.training.finetuning import stratified_share
from tests.helpers.sources import PYTHONPATH
from tests.helpers.toy_training import digest, toy_data, toy_model, toy_training


class Stopped(Exception):
    pass


class StoppingConsole(Console):
    """Interrupts a training after a number of batches."""

    def __init__(self, after):
        super().__init__(quiet=True)
        self.left = after

    def progress(self, total, what, unit="images"):
        from contextlib import contextmanager

        outer = self

        class Bar:
            def update(self, n=1):
                if n == 1:
                    outer.left -= 1
                if outer.left < 0:
                    raise Stopped

        @contextmanager
        def bar():
            yield Bar()

        return bar()


def trained(path, **changes):
    model = toy_model()
    training = toy_training(model, toy_data(), path, **changes)
    return digest(model, training.run()), training, model


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("whole") / "checkpoint")[0]


def test_same_seed_same_weights(undisturbed, tmp_path):
    assert trained(tmp_path / "checkpoint")[0] == undisturbed


@pytest.mark.parametrize("after", [2, 9])
def test_interrupted_within_an_epoch_it_resumes_to_the_same_end(after, undisturbed, tmp_path):
    stopped = toy_training(toy_model(), toy_data(), tmp_path / "checkpoint", minutes=0.0)
    stopped._console = StoppingConsole(after)
    with pytest.raises(Stopped):
        stopped.run()
    again = toy_training(toy_model(seed=99), toy_data(), tmp_path / "checkpoint", minutes=0.0)
    assert digest(again._model, again.run()) == undisturbed


def test_a_longer_training_resumes_from_a_shorter(undisturbed, tmp_path):
    trained(tmp_path / "checkpoint", epochs=2)
    longer, training, _ = trained(tmp_path / "checkpoint", epochs=4)
    assert longer == undisturbed
    assert len(training._state.rows) == 4


@pytest.mark.parametrize("how", ["cut", "noise", "other"])
def test_a_useless_checkpoint_is_reported_and_not_used(how, undisturbed, tmp_path, capsys):
    path = tmp_path / "checkpoint"
    trained(path, epochs=1)
    if how == "other":
        from dataclasses import replace

        training = toy_training(toy_model(), toy_data(), path)
        training._checkpoint = replace(training._checkpoint, identity="another")
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if how == "cut" else b"\xff" * 500)
        training = toy_training(toy_model(), toy_data(), path)
    assert digest(training._model, training.run()) == undisturbed
    assert "starts over" in capsys.readouterr().err


def test_the_best_epoch_on_tune_is_kept_and_patience_ends(tmp_path):
    _, training, _ = trained(tmp_path / "checkpoint", epochs=12, patience=2)
    rows = training._state.rows
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"], -row["epoch"]))
    assert training.best == best["epoch"]
    assert len(rows) == 12 or len(rows) == best["epoch"] + 2
    loss, accuracy = training._evaluate()  # the model holds that epoch's averaged weights
    assert accuracy == best["val_accuracy"]
    assert loss == pytest.approx(best["val_loss"], rel=1e-5)


def test_every_epoch_has_every_image_once_in_another_order(tmp_path):
    data = toy_data()
    training = toy_training(toy_model(), data, tmp_path / "checkpoint")
    seen = [np.concatenate([labels for _, labels in training._batches(epoch, 0)]) for epoch in (1, 1, 2)]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()
    full = len(data.train)
    np.testing.assert_array_equal(np.bincount(seen[0][:full]), np.bincount(data.train_labels))
    later = list(training._batches(1, 3))  # from the fourth batch on: the same batches
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in later]), seen[0][3 * 8 :])


def test_readable_images_replace_unreadable_ones(tmp_path):
    data = toy_data(broken=(0, 1, 2, 3, 44, 45))
    training = toy_training(toy_model(), data, tmp_path / "checkpoint")
    batches = list(training._batches(1, 0))
    assert {len(images) for images, _ in batches} == {8}
    assert len(batches) == training.steps
    assert (training._evaluate()[1]) <= 10 / 12  # two of twelve on tune cannot be read, and count as wrong
    nothing = toy_data(broken=range(54))
    with pytest.raises(RunError, match="no training image can be read"):
        toy_training(toy_model(), nothing, tmp_path / "other").run()


def test_nothing_to_learn_from_is_reported(tmp_path):
    with pytest.raises(RunError, match="no training images"):
        toy_training(toy_model(), toy_data(), tmp_path / "checkpoint", rows=np.empty(0, np.int64))


def test_an_infinite_cost_is_reported(tmp_path):
    model = toy_model(learning_rate=1e30)
    with pytest.raises(RunError, match="lower the learning rate"):
        toy_training(model, toy_data(), tmp_path / "checkpoint").run()


def test_history_says_how_long_the_device_waited(tmp_path):
    model = toy_model()
    history = toy_training(model, toy_data(), tmp_path / "checkpoint", epochs=2).run()
    assert history["epoch"].tolist() == [1, 2]
    assert history["step"].tolist() == [6, 12]
    assert (history["data_wait"] >= 0).all()
    assert (history["data_wait"] < history["seconds"]).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_trainings_end_with_the_same_weights(kills, tmp_path):
    """SIGKILL at random moments, checkpoints after every update; bit for bit on a CPU."""
    script = Path(__file__).parents[2] / "helpers" / "toy_training.py"
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(kills)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("0 differ")


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.floats(0.01, 1.0),
    st.integers(0, 5),
)
def test_a_share_is_drawn_of_every_category_by_product(sizes, share, seed):
    rng = np.random.default_rng(0)
    category = np.repeat(np.arange(len(sizes)), sizes)
    images = rng.integers(1, 4, len(category))
    products = np.repeat(np.arange(len(category)) * 3, images)
    labels = category[products // 3]
    rows = stratified_share(labels, products, share, seed)
    assert (np.diff(rows) > 0).all()
    drawn = np.unique(products[rows])
    assert np.isin(products, drawn).sum() == len(rows)  # whole products
    counts = np.bincount(category[drawn // 3], minlength=len(sizes))
    assert counts.tolist() == [max(1, round(share * size)) for size in sizes]
    np.testing.assert_array_equal(rows, stratified_share(labels, products, share, seed))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(InputError, match="share"):
        stratified_share(np.zeros(3, int), np.arange(3), share, 0)
