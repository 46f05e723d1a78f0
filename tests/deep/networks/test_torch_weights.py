import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench_deep.networks.torch_weights import read_torch_weights
from shelfbench_deep.networks.weights import packaged_weights

TYPES = {"float32": "FloatStorage", "int64": "LongStorage", "float16": "HalfStorage"}


@pytest.fixture
def torch_names(monkeypatch):
    """Names that a pickle of PyTorch refers to, so that one can be written without it."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2():
        raise AssertionError("only its name is written")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in TYPES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch, utils


class Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


class Tensor:
    def __init__(self, utils, storage, offset, shape, strides):
        self.rebuild = utils._rebuild_tensor_v2
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return self.rebuild, self.arguments


def dump(handle, value, torch):
    class Pickler(pickle.Pickler):
        def persistent_id(self, found):
            if isinstance(found, Storage):
                kind = getattr(torch, TYPES[found.array.dtype.name])
                return ("storage", kind, found.key, "cpu", found.array.size)
            return None

    Pickler(handle, protocol=2).dump(value)


def write_legacy(path, state, storages, torch):
    with open(path, "wb") as handle:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(head, handle, protocol=2)
        dump(handle, state, torch)
        pickle.dump([storage.key for storage in storages], handle, protocol=2)
        for storage in storages:
            handle.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())


def write_zip(path, state, storages, torch):
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as handle:
            dump(handle, state, torch)
        archive.writestr("archive/byteorder", "little")
        for storage in storages:
            archive.writestr(f"archive/data/{storage.key}", storage.array.tobytes())


LAYOUTS = [write_legacy, write_zip]


@pytest.mark.parametrize("write", LAYOUTS)
def test_reads_views_types_and_shared_storages(tmp_path, torch_names, write):
    torch, utils = torch_names
    floats, count = Storage("10", np.arange(24, dtype="f4")), Storage("11", np.array([7], "i8"))
    state = OrderedDict(
        whole=Tensor(utils, floats, 0, (2, 3, 4), (12, 4, 1)),
        turned=Tensor(utils, floats, 12, (4, 3), (1, 4)),
        scalar=Tensor(utils, count, 0, (), ()),
        empty=Tensor(utils, floats, 0, (0, 4), (4, 1)),
    )
    write(tmp_path / "w.pth", state, [floats, count], torch)
    arrays = read_torch_weights(tmp_path / "w.pth")
    assert list(arrays) == ["whole", "turned", "scalar", "empty"]
    np.testing.assert_array_equal(arrays["whole"], np.arange(24, dtype="f4").reshape(2, 3, 4))
    np.testing.assert_array_equal(arrays["turned"], np.arange(12, 24, dtype="f4").reshape(3, 4).T)
    assert arrays["scalar"] == 7
    assert arrays["scalar"].dtype == np.int64
    assert arrays["empty"].shape == (0, 4)
    assert all(array.flags.owndata or array.size == 0 for array in arrays.values())


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("write", LAYOUTS)
def test_hostile_pickle_is_refused_and_nothing_runs(tmp_path, torch_names, write):
    trace = tmp_path / "trace"
    write(tmp_path / "w.pth", OrderedDict(w=Hostile(f"touch {trace}")), [], torch_names[0])
    with pytest.raises(InputError, match=r"w\.pth.*posix\.system.*refused"):
        read_torch_weights(tmp_path / "w.pth")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["builtins eval", "torch load", "torch._utils _rebuild_tensor_v2.__globals__"])
def test_other_names_are_refused(tmp_path, name):
    module, attribute = name.split()
    (tmp_path / "w.pth").write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(InputError, match="refused"):
        read_torch_weights(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((5, 5), (5, 1), 0), ((2, 2), (12, 1), 20), ((10**6, 10**6), (0, 0), 0), ((2,), (-1,), 1), ((2, 2), (2,), 0)],
)
@pytest.mark.parametrize("write", LAYOUTS)
def test_tensors_beyond_their_storage_are_refused(tmp_path, torch_names, write, shape, strides, offset):
    torch, utils = torch_names
    storage = Storage("0", np.zeros(24, "f4"))
    write(tmp_path / "w.pth", OrderedDict(w=Tensor(utils, storage, offset, shape, strides)), [storage], torch)
    with pytest.raises(InputError, match="tensor"):
        read_torch_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("write", LAYOUTS)
def test_truncated_anywhere_is_one_error(tmp_path, torch_names, write):
    torch, utils = torch_names
    storage = Storage("0", np.arange(24, dtype="f4"))
    write(tmp_path / "w.pth", OrderedDict(w=Tensor(utils, storage, 0, (24,), (1,))), [storage], torch)
    whole = (tmp_path / "w.pth").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pth"):
            read_torch_weights(tmp_path / "cut.pth")


def test_no_checkpoint_and_no_file(tmp_path):
    (tmp_path / "text.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"text\.pth"):
        read_torch_weights(tmp_path / "text.pth")
    with pytest.raises(InputError, match=r"none\.pth cannot be read"):
        read_torch_weights(tmp_path / "none.pth")


def test_the_packaged_weights_are_those_of_lite0():
    arrays = read_torch_weights(packaged_weights())
    learnt = [array for name, array in arrays.items() if name.endswith(("weight", "bias"))]
    assert sum(array.size for array in learnt) == 4_652_008
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert all(np.isfinite(array).all() for array in arrays.values())
