"""What training a whole network at its defaults holds in memory, and how long it takes: whole batches and parts.

python tests/benchmarks/training_memory.py results/scale/training.csv
python tests/benchmarks/training_memory.py results/scale/training.csv --network xception --part 0

Each row is a process of its own that trains the real network on generated photos for two epochs of two updates; the
second epoch is timed. Whole batches of Xception at 299 px take 19 GiB. Rows are added as they are measured.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = (
    *("network", "pixels", "batch", "part", "engine", "precision"),
    *("peak_mib", "planned_mib", "seconds_per_image", "cost", "processor"),
)
NETWORKS = ("inception_v3", "xception")


def one(network: str, pixels: int, part: int, batch: int, precision: str) -> dict[str, object]:
    """Train in this process."""
    import numpy as np

    from shelfbench.base.console import Console
    from shelfbench.base.processor import cpuinfo
    from shelfbench.plugins.backend import TrainingImages
    from shelfbench_deep.networks.inception import InceptionSettings
    from shelfbench_deep.networks.xception import XceptionSettings
    from shelfbench_deep.timing.synthetic import photos
    from shelfbench_deep.training.full import full_trainer
    from shelfbench_deep.training.settings import FullSettings, TrainingSettings
    from tests.helpers.toy_training import Pictures

    classes, held = 20, 32
    count = 2 * batch
    rows = np.arange(count + held)
    data = TrainingImages(
        images=Pictures(photos(len(rows), 320)),
        fit="pad",
        train=rows[:count],
        train_labels=rows[:count] % classes,
        train_products=rows[:count],
        tune=rows[count:],
        tune_labels=rows[count:] % classes,
        classes=classes,
        identity="generated",
        workers=2,
    )
    settings = FullSettings(epochs=2, batch=batch, inception_v3_pixels=pixels, xception_pixels=pixels)
    training = TrainingSettings(part=part, precision=precision)
    own = XceptionSettings() if network == "xception" else InceptionSettings()
    trainer = full_trainer(network, settings, training, own)
    # before anything has been trained, as a run does
    planned = trainer._parts(trainer.sketch(data, 0), 1)
    trained = trainer.train(data, seed=0, console=Console(quiet=False))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "network": network,
        "pixels": pixels,
        "batch": batch,
        "part": planned.part,
        "engine": trained.framework,
        "precision": precision,
        "peak_mib": round(int(status["VmHWM"].split()[0]) / 1024),
        "planned_mib": round(planned.process / 2**20),
        "seconds_per_image": round(float(trained.history["seconds"].iloc[-1]) / count, 4),
        "cost": round(float(trained.history["loss"].iloc[-1]), 5),
        "processor": cpuinfo().get("model name", ""),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument(
        "--network", choices=("inception_v3", "xception"), nargs="+", default=["inception_v3", "xception"]
    )
    parser.add_argument("--part", type=int, nargs="+", default=[64, 0], help="64: whole batches; 0: as by default")
    parser.add_argument("--pixels", type=int, default=299)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--here", action="store_true", help="measure in this process and print")
    given = parser.parse_args()
    if given.here:
        print(json.dumps(one(given.network[0], given.pixels, given.part[0], given.batch, given.precision)))
        return
    for network in given.network:
        for part in given.part:
            command = [sys.executable, __file__, str(given.record), "--here", "--network", network, "--part", str(part)]
            command += ["--pixels", str(given.pixels), "--batch", str(given.batch), "--precision", given.precision]
            with tempfile.TemporaryDirectory() as cache:
                done = subprocess.run(
                    command,
                    env={**os.environ, "SHELFBENCH_CACHE": cache},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
            row = json.loads(done.stdout.splitlines()[-1])
            print(row, flush=True)
            given.record.parent.mkdir(parents=True, exist_ok=True)
            new = not given.record.exists()
            with given.record.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)


if __name__ == "__main__":
    main()
