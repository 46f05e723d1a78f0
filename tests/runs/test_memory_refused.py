"""A network that does not fit into the memory that is free is refused before anything is written."""

import dataclasses

import pytest

from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.runs import comparison
from tests.helpers.small_studies import SETTINGS, command


class Greedy:
    """A trainer that knows how much memory it needs."""

    def __init__(self):
        self.asked = []

    def describe(self):
        return {"kind": "greedy"}

    def check_memory(self, data, *, seed):
        self.asked.append((len(data.train), seed))
        raise InputError("net needs 9.0 GiB of memory, and 2.0 GiB is free", "set training.part=8")


def test_it_is_refused_in_one_line_before_the_directory_is_made(image_folder, monkeypatch, capsys):
    greedy, build = Greedy(), comparison.build_backend

    def built(*given):
        found = build(*given)
        return dataclasses.replace(found, backend=dataclasses.replace(found.backend, trainer=greedy))

    monkeypatch.setattr(comparison, "build_backend", built)
    out = image_folder.parent / "run"
    words = ["--dataset", str(image_folder), "--backend", "hog-svm", "--seed", "3", "--out", str(out)]
    assert command("default", *words, "--set", "split.min_products=5") == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["shelfbench: hog-svm: net needs 9.0 GiB of memory, and 2.0 GiB is free; set training.part=8"]
    assert [seed for _, seed in greedy.asked] == [3]
    assert greedy.asked[0][0] > 0
    assert not out.exists()


@pytest.mark.slow
def test_what_the_line_says_helps(image_folder, monkeypatch, capsys):
    """The real network, and its own remedy, on a machine with little memory."""
    from shelfbench_deep.training import memory

    out = image_folder.parent / "run"
    words = ["run", "default", "--quiet", "--dataset", str(image_folder), "--backend", "full-xception"]
    settings = [*SETTINGS, "full.xception_pixels=71", "full.batch=16", "full.epochs=1", "split.min_products=5"]
    words += ["--out", str(out), *(word for text in settings for word in ("--set", text))]
    monkeypatch.setattr(memory, "free_memory", lambda: int(0.85 * memory.GIB))
    assert main([*words, "--set", "training.part=16"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "full-xception needs" in said
    assert "16 images at a time" in said
    assert "0.8 GiB is free" in said
    remedy = said.split("set ")[1].split(",")[0]
    assert remedy.startswith("training.part=")
    assert not out.exists()
    assert main([*words, "--set", remedy]) == 0
