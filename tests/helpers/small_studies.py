"""Small studies on the image folder, and what their runs leave."""

import json

from shelfbench.cli.main import main
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study

SETTINGS = ["hog.pixels=48", "hog.cells=8", "svm.C=[0.01]", "pixels=32", "two_layer.epochs=2", "report.pictures=false"]
BACKENDS = ["hog-svm", "bottleneck-2nn-512"]
PROFILES = """
experiment = "profiles"
weights = "{weights}"
pixels = 32

[profiles]
seeds = [0, 1]

[two_layer]
epochs = 2

[variants.plain]
backend = "bottleneck-2nn-512"

[variants.large]
backend = "bottleneck-2nn-2048"
"""


def study_of(path, *settings, backends=BACKENDS):
    overrides = [parse_setting(text) for text in (*SETTINGS, *settings)]
    return read_study("default", [*overrides, (["dataset", "name"], str(path)), (["backends"], list(backends))])


def profiles_of(path, folder, weights="imagenet"):
    (folder / "small.toml").write_text(PROFILES.format(weights=weights))
    return read_study(str(folder / "small.toml"), [(["dataset", "name"], str(path))])


def record(out):
    return json.loads((out / "run.json").read_text())


def command(*words):
    settings = [word for text in SETTINGS for word in ("--set", text)]
    return main(["run", *words[:1], "--quiet", "--workers", "1", *settings, *words[1:]])
