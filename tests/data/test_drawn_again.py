"""A catalogue in the cache in which a bit has flipped is drawn anew, and nothing changes."""

import pytest

from shelfbench.base.console import Console
from shelfbench.data.datasets import open_dataset
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.generator import GeneratorSettings

DRAWN = GeneratorSettings(products=6, departments=1, categories=2, pixels=32, max_photos=1)


def opened():
    return open_dataset(DatasetSettings(name="generated"), DRAWN, None, 1, Console(quiet=True))[0]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", ["train.bson", "category_names.csv", "truth.csv"])
@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_a_flipped_bit_is_noticed(fresh_cache, capsys, name, at):
    folder = opened().images.files[0].parent
    before = contents(folder)
    data = bytearray(before[name])
    data[int(at * len(data))] ^= 4
    (folder / name).write_bytes(data)
    opened()
    assert contents(folder) == before
    assert f"{folder / name} is not what was written" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [b"", b"[]", b'{"files": 3}', b'{"files": {"gone.csv": "00"}}', b"\xff"])
def test_a_damaged_record_is_written_anew(fresh_cache, wrong):
    folder = opened().images.files[0].parent
    before = contents(folder)
    (folder / "generator.json").write_bytes(wrong)
    opened()
    assert contents(folder) == before


def test_a_missing_file_is_drawn_again(fresh_cache):
    folder = opened().images.files[0].parent
    before = contents(folder)
    (folder / "truth.csv").unlink()
    opened()
    assert contents(folder) == before


def test_catalogues_of_earlier_versions_are_taken_as_they_are(fresh_cache, monkeypatch):
    folder = opened().images.files[0].parent
    (folder / "generator.json").write_text('{"version": 1}')
    monkeypatch.setattr("shelfbench.generator.generate", lambda *_: pytest.fail("drawn again"))
    opened()


def test_what_is_whole_is_not_drawn_again(fresh_cache, monkeypatch):
    opened()
    monkeypatch.setattr("shelfbench.generator.generate", lambda *_: pytest.fail("drawn again"))
    opened()
