"""The record of each job of a run, by experiment; see `shelfbench.runs.record`."""

from __future__ import annotations

from typing import Any

import msgspec


class Entry(msgspec.Struct, kw_only=True):
    """One job of a run.

    Attributes
    ----------
    status : str
        ``pending``, ``done`` or ``failed``.
    reason : str
        Why it failed; empty otherwise.
    files : dict of str to str
        SHA-256 of every file that it left in the run directory, by relative path; empty while it is not done, and in
        runs of earlier versions.
    """

    status: str = "pending"
    reason: str = ""
    files: dict[str, str] = {}

    @property
    def done(self) -> bool:
        """Whether its results exist."""
        return self.status == "done"

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.status == "failed"


class BackendEntry(Entry, kw_only=True):
    """A backend of a comparison.

    Attributes
    ----------
    columns : dict of str to str
        Its name in Table 4: ``Feature``, ``Classifier``, ``Fine-tuning``.
    chosen : dict
        The choices made on `tune`: the classifier's own choices, ``tuning`` (of the network's training),
        ``aggregation``, ``temperature`` and ``rule_products``.
    settings : dict
        The settings that the backend was built from.
    peak_rss_mib : float or None
        Peak resident memory while it ran.
    others_share : float or None
        Share of the machine's processors that other programs used while it was fitted and scored; None in runs of
        earlier versions, and where the system does not tell.
    """

    columns: dict[str, str] = {}
    chosen: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    peak_rss_mib: float | None = None
    others_share: float | None = None


class TrainingEntry(Entry, kw_only=True):
    """One training of the experiment ``profiles``: a variant with one seed.

    Attributes
    ----------
    variant : str
    seed : int
    chosen, settings : dict
        As in `BackendEntry`.
    material : dict of str to int
        Numbers of categories, products and images it was trained on.
    peak_rss_mib : float or None
    """

    variant: str = ""
    seed: int = 0
    chosen: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    material: dict[str, int] = {}
    peak_rss_mib: float | None = None


class NetworkEntry(Entry, kw_only=True):
    """A network of the experiment ``imagenet``.

    Attributes
    ----------
    network, weights : str
    pixels, images, unreadable : int
        Side of the crop; images evaluated, and how many of them could not be read.
    top_1, top_5 : float or None
        Share of the images whose category is the best, or among the five best.
    seconds : float or None
    cached : bool
    settings : dict
    """

    network: str = ""
    pixels: int = 0
    weights: str = ""
    images: int = 0
    unreadable: int = 0
    top_1: float | None = None
    top_5: float | None = None
    seconds: float | None = None
    cached: bool = False
    settings: dict[str, Any] = {}


class HeadEntry(Entry, kw_only=True):
    """A head, or a whole network, of the experiment ``multilabel``.

    Attributes
    ----------
    backbone : str
    pixels : int
    fully_connected : str
        ``yes`` or ``no``.
    scores : dict
        By role (train, tune, test), the scores by name.
    chosen, settings : dict
        As in `BackendEntry`.
    seconds : float or None
    images : dict of str to int
        By role.
    labels, unseen_labels : int
        Labels that were learnt, and labels missing from train.
    labels_per_image : float
        Of test.
    """

    backbone: str = ""
    pixels: int = 0
    fully_connected: str = "no"
    scores: dict[str, dict[str, float]] = {}
    chosen: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    seconds: float | None = None
    images: dict[str, int] = {}
    labels: int = 0
    labels_per_image: float = 0.0
    unseen_labels: int = 0

    @property
    def trained(self) -> str:
        """``head`` on a frozen backbone, or ``whole network``."""
        return str(self.settings.get("trained", "head"))
