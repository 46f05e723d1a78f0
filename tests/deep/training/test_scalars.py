import sys

import pytest

from shelfbench.base.errors import InputError
from shelfbench_deep.training.scalars import ScalarLog


def test_what_is_written_can_be_read_at_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = ScalarLog(tmp_path / "log")
    log.write(10, {"epoch": 1, "step": 10, "loss": 0.5})
    log.write(20, {"epoch": 2, "step": 20, "loss": 0.25})
    found = EventAccumulator(str(tmp_path / "log")).Reload()
    assert found.Tags()["tensors"] == ["epoch/loss"]
    assert [event.step for event in found.Tensors("epoch/loss")] == [10, 20]
    assert [event.tensor_proto.float_val[0] for event in found.Tensors("epoch/loss")] == [0.5, 0.25]


def test_without_tensorboard_it_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        ScalarLog(tmp_path)
