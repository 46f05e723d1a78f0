"""Decisions on an estimator of scikit-learn that a stranger made: refused in one line by `classify`."""

import shutil

import pytest

from shelfbench.cli.main import main
from shelfbench.decision.deciding import decide
from tests.decision.test_hostile_decisions import added, gigantic, missing, pickled, sealed, set_value
from tests.helpers.decisions import classified, make_shop, png, run_shop, seal, striped
from tests.helpers.skops_files import SYSTEM, attribute, bomb, evil, many_times, members, partial, write

SKOPS = "classifier.skops"
HEAD = [
    "heads.knn.estimator=sklearn.neighbors.KNeighborsClassifier",
    "heads.knn.parameters.n_neighbors=3",
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    (root / "shop").mkdir()
    run_shop(make_shop(root / "shop"), root / "run", "hog-knn", HEAD)
    decide(root / "run", "hog-knn", precision=0.6).save(root / "decision")
    return root / "decision"


def of_skops(tamper):
    """Change the estimator, and make the hashes match again."""

    def apply(folder, canary):
        tamper(folder / SKOPS, canary)
        seal(folder)

    return apply


def both(folder, canary):
    (folder / "weights.safetensors").write_bytes(b"")
    seal(folder)


CASES = {
    "a function of the system": of_skops(evil("FunctionNode", SYSTEM["__module__"], "system")),
    "a partial call": of_skops(evil("PartialNode", "functools", "partial", content=partial)),
    "an object of a module to import": of_skops(evil("ObjectNode", "antigravity", "Popen")),
    "a compressed bomb": of_skops(bomb),
    "an array used three thousand times": of_skops(many_times),
    "half a file": of_skops(lambda path, canary: path.write_bytes(path.read_bytes()[:500])),
    "a pickle as estimator": sealed(SKOPS, pickled),
    "a pickle as its record": sealed("classifier.json", pickled),
    "a pickle beside it": added("estimator.pkl", pickled),
    "a file that leads upward": of_skops(lambda path, canary: write(path, {**members(path), "../evil": b""})),
    "neighbours by a function": of_skops(attribute("weights", "os.system")),
    "an estimator of 4 TiB": gigantic(SKOPS, 4 << 40),
    "no estimator": missing(SKOPS),
    "an estimator and weights": both,
    "an estimator changed after it was sealed": lambda folder, canary: many_times(folder / SKOPS, canary),
    "an estimator for an installed backend": set_value("model", "backend", value="hog-svm"),
    "an estimator on features that nobody offers": set_value("model", "backend", value="evil-knn"),
    "an estimator on a network that is missing": set_value("model", "backend", value="bottleneck-knn"),
    "an estimator of other photos": set_value("model", "sections", "hog", "cells", value=4),
}


@pytest.mark.parametrize("case", CASES)
def test_they_are_refused_in_one_line(case, sound, tmp_path, capsys):
    folder, canary, photo = tmp_path / "decision", tmp_path / "canary", tmp_path / "photo.png"
    shutil.copytree(sound, folder)
    photo.write_bytes(png(striped("lying", 99)))
    CASES[case](folder, canary)
    assert main(["classify", str(folder), str(photo), "--workers", "1"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert str(folder) in said.err
    assert "; " in said.err, "no remedy"
    assert not canary.exists()


def test_what_they_were_made_of_is_sound(sound, tmp_path, capsys):
    (tmp_path / "photo.png").write_bytes(png(striped("lying", 99)))
    rows, _ = classified(capsys, sound, tmp_path / "photo.png")
    assert [row["suggestion"] for row in rows] == ["lying"]
