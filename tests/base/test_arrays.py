"""A damaged array is one kind of error, whichever bit is wrong, and no bit changes its shape or type without a word."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shelfbench.base.arrays import load_array, load_arrays

_ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("arrays")
    np.save(folder / "a.npy", _ARRAY)
    np.savez(folder / "a.npz", a=_ARRAY)
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@given(bit=st.integers(0, 8 * 128 - 1))
@example(bit=8 * 20 + 3)
def test_a_flipped_bit_of_a_header_is_an_error_or_changes_nothing_that_matters(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.npy"
    data = bytearray(files[".npy"])
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    try:
        read = load_array(path)
    except ValueError:
        return
    assert read.nbytes == _ARRAY.nbytes
    assert read.dtype.itemsize * read.size == _ARRAY.nbytes


@given(bit=st.integers(0, 8 * 400))
def test_a_flipped_bit_of_an_archive_is_an_error_or_changes_nothing(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.npz"
    data = bytearray(files[".npz"])
    bit %= 8 * len(data)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    try:
        read = load_arrays(path)
    except (OSError, ValueError):
        return
    assert all(np.array_equal(array, _ARRAY) for array in read.values())


@pytest.mark.parametrize("cut", [0, 5, 60, 130])
def test_a_short_or_long_file_is_an_error(files: dict[str, bytes], tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.npy").write_bytes(files[".npy"][:cut])
    with pytest.raises(ValueError, match=r"bytes, not|magic|EOF|header"):
        load_array(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(files[".npy"] + b"\0" * (cut + 1))
    with pytest.raises(ValueError, match="bytes, not"):
        load_array(tmp_path / "a.npy")


def test_a_whole_file_is_read(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(files[".npy"])
    assert np.array_equal(load_array(tmp_path / "a.npy"), _ARRAY)
    assert isinstance(load_array(tmp_path / "a.npy", mapped=True), np.memmap)
