"""How many images are in a network at a time: what fits, what is refused, and what a begun training keeps."""

import dataclasses

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench_deep.training import memory
from shelfbench_deep.training.memory import GIB, Circumstances, Need, choose_parts, given, largest

NEED = Need(weights=1 * GIB, image=0.25 * GIB, waiting=0.0, normalises=True)
AROUND = Circumstances(name="net", batch=64, devices=1, part=0, begun=None, limit=6 * GIB, host=True)


@pytest.fixture
def free(monkeypatch):
    """Set what the machine has free, in GiB; the engine takes 1 GiB."""
    monkeypatch.setattr(memory, "engine_bytes", lambda: 1.0 * GIB)

    def set_free(gib):
        monkeypatch.setattr(memory, "free_memory", lambda: int(gib * GIB))

    set_free(100)
    return set_free


@drawn(
    st.integers(1, 40), st.sampled_from([1, 2, 4]), st.floats(0.01, 60), st.booleans(), st.floats(0.01, 2), st.data()
)
def test_the_largest_parts_that_fit(count, devices, most, normalises, image, data):
    batch = count * devices
    need = dataclasses.replace(NEED, image=image * GIB, normalises=normalises)
    parts = largest(batch, need, most=most * GIB, devices=devices)
    assert parts.batch == parts.part * parts.count
    assert parts.part % devices == 0
    assert batch - parts.batch < parts.part
    least = min(batch, max(devices, 8 if normalises else 1))
    assert parts.part >= least
    if parts.bytes > most * GIB:  # then nothing sensible does
        assert need.of(batch, least) > most * GIB or parts.part < 2 * least
    bigger = [size for size in range(parts.part + 1, batch + 1) if batch % size == 0 and size % devices == 0]
    assert all(need.of(batch, size) > most * GIB for size in bigger)
    asked = data.draw(st.integers(1, 2 * batch))
    found = given(batch, asked, need, devices)
    assert found.part <= max(asked, devices)
    assert found.part * found.count == found.batch <= batch


def test_a_machine_with_room_takes_what_the_limit_says_and_no_more(free):
    # 1 GiB of the engine, 1 of weights, 4 of 16 images
    for gib in (100, 5):
        free(gib)
        assert choose_parts(NEED, AROUND).part == 16
    assert choose_parts(NEED, dataclasses.replace(AROUND, limit=100 * GIB)).count == 64 // 16
    free(100)
    whole = choose_parts(NEED, dataclasses.replace(AROUND, limit=100 * GIB))
    assert (whole.count, whole.record) == (1, {})
    small = choose_parts(dataclasses.replace(NEED, image=0.01 * GIB), AROUND)
    assert (small.count, small.record) == (1, {})


def test_parts_are_recorded_with_what_they_change(free):
    parts = choose_parts(NEED, AROUND)
    assert parts.record == {"images_at_a_time": 16, "batch_norm": "over 16 images"}
    assert "batch normalisation sees 16 images at a time" in parts.words
    frozen = choose_parts(dataclasses.replace(NEED, normalises=False), AROUND)
    assert frozen.record == {"images_at_a_time": 16}
    assert "nothing else changes" in frozen.words


def test_less_memory_means_smaller_parts_down_to_what_makes_sense(free):
    free(3.2)
    assert choose_parts(NEED, AROUND).part == 8
    free(2.9)
    with pytest.raises(InputError, match=r"net needs 3\.0 GiB .* 8 images at a time, and 2\.9 GiB is free.*part=4, "):
        choose_parts(NEED, AROUND)
    assert choose_parts(NEED, dataclasses.replace(AROUND, part=4)).part == 4  # what the line says is taken
    free(1.1)
    with pytest.raises(InputError, match="set fewer pixels"):
        choose_parts(NEED, AROUND)
    free(2.9)
    # without batch normalisation, one image at a time is as good
    assert choose_parts(dataclasses.replace(NEED, normalises=False), AROUND).part == 4


def test_a_begun_training_keeps_its_parts_and_is_refused_rather_than_changed(free, tmp_path):
    begun = dataclasses.replace(AROUND, begun=32, part=16, checkpoint=tmp_path / "checkpoint")
    assert choose_parts(NEED, begun).part == 32
    assert choose_parts(NEED, dataclasses.replace(begun, begun=0)).count == 1  # by a version without parts
    free(4)
    with pytest.raises(InputError, match=r"needs 9\.0 GiB .* or delete .*checkpoint"):
        choose_parts(NEED, begun)


def test_what_is_asked_for_is_taken_or_refused_with_what_fits(free):
    assert choose_parts(NEED, dataclasses.replace(AROUND, part=64)).count == 1
    free(6)
    with pytest.raises(InputError, match=r"64 images at a time.* training\.part=16"):
        choose_parts(NEED, dataclasses.replace(AROUND, part=64))
    # an accelerator has a memory of its own
    assert choose_parts(NEED, dataclasses.replace(AROUND, host=False)).count == 1
