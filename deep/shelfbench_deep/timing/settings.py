"""The section ``timing`` of a study."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shelfbench.base.errors import InputError
from shelfbench.cost.timing import machine
from shelfbench_deep.networks.known import NETWORKS

PORT = "inception_v3_2016"
"""Inception V3 as Keras had it when X was written (`shelfbench_deep.networks.inception`)."""
PRECISIONS = ("auto", "float32", "mixed_bfloat16")


@dataclass(frozen=True, kw_only=True)
class TimingSettings:
    """Section ``timing`` of a study, and the options of the script.

    Attributes
    ----------
    networks : tuple of str
        Backbones to measure; those of ``keras.applications`` are also trained, Inception V3 in the form of today and
        in that of 2016, which X timed.
    units : tuple of int
        Hidden units in total of each 2NN.
    classes : int
    pixels : int
        Side of the networks' images; 0: on a GPU what the network was made for, on a CPU 96.
    batch : int
        Images per step; 0: 256 on a GPU, 16 on a CPU.
    images : int
        Bottlenecks in an epoch of the 2NN; 0: a million on a GPU, 10,240 on a CPU.
    head_batch : int
        Bottlenecks per step (C22).
    precision : {'auto', 'float32', 'mixed_bfloat16'}
        ``auto``: mixed on a GPU.
    photo : int
        Side of the JPEG photos: 180 in Cdiscount's catalogue.
    repetitions : int
    seconds : float
        Approximate length of one repetition.
    workers : int
        Number of decoders; 0: one per core.
    precision_from : str
        A run directory to take the precision of backbones from (Table 4); empty for none.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    networks: tuple[str, ...] = ("inception_v3", "xception", "vgg16", "resnet152", "efficientnet_lite0")
    units: tuple[int, ...] = (512, 2048, 4096)
    classes: int = 1000
    pixels: int = 0
    batch: int = 0
    images: int = 0
    head_batch: int = 256
    precision: str = "auto"
    photo: int = 180
    repetitions: int = 5
    seconds: float = 2.0
    workers: int = 0
    precision_from: str = ""

    def __post_init__(self) -> None:
        for name in self.networks:
            if name not in NETWORKS:
                raise InputError(f"timing.networks names {name!r}", f"choose from: {', '.join(NETWORKS)}")
        if any(units < 2 or units % 2 for units in self.units):
            raise InputError(f"timing.units is {list(self.units)}", "give even numbers: two equal hidden layers")
        if self.precision not in PRECISIONS:
            raise InputError(f"timing.precision is {self.precision!r}", f"choose from: {', '.join(PRECISIONS)}")
        for name, least in (("classes", 2), ("head_batch", 1), ("photo", 8), ("repetitions", 1)):
            if getattr(self, name) < least:
                raise InputError(f"timing.{name} is {getattr(self, name)}", f"give {least} or more")
        for name in ("pixels", "batch", "images", "workers"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"timing.{name} is {getattr(self, name)}", "give 0 to leave it to the machine, or more"
                )
        if 0 < self.images < self.head_batch:
            raise InputError(f"timing.images is {self.images}", f"give at least one batch: {self.head_batch}")
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"timing.seconds is {self.seconds}", "give a positive number")

    def on(self, kind: str) -> TimingSettings:
        """Fill in everything that was left to the machine; `pixels` stays 0 for each network's own size."""
        gpu = kind == "gpu"
        return dataclasses.replace(
            self,
            pixels=self.pixels or (0 if gpu else 96),
            batch=self.batch or (256 if gpu else 16),
            images=self.images or (1_000_000 if gpu else 10_240),
            precision=("mixed_bfloat16" if gpu else "float32") if self.precision == "auto" else self.precision,
            workers=self.workers or int(machine()["cores"]),
        )

    def names(self) -> list[str]:
        """Parts to measure, in order."""
        return [
            "decode",
            *(f"full {name}" for name in trained_whole(self.networks)),
            *(f"head {units}" for units in self.units),
            *(f"extract {name}" for name in self.networks),
        ]

    def by_importance(self) -> list[str]:
        """Parts in the order in which they are measured: those of the first two networks come first, and all heads."""
        first, rest = self.networks[:2], self.networks[2:]
        whole = [name for name in trained_whole(first) if name in first]
        return [
            "decode",
            *(f"full {name}" for name in whole),
            *(f"head {units}" for units in self.units),
            *(f"extract {name}" for name in first),
            *(f"full {name}" for name in trained_whole(self.networks) if name not in whole),
            *(f"extract {name}" for name in rest),
        ]


def trained_whole(networks: Sequence[str]) -> Iterator[str]:
    """List the networks that are trained end to end, Inception V3 also as its port of 2016 (X, Table 3)."""
    for name in networks:
        if NETWORKS[name].application:
            yield name
            if name == "inception_v3":
                yield PORT
