"""Networks in int8 see some training photos before they compute."""

from __future__ import annotations

from typing import Any, cast

from shelfbench.base.storage import fingerprint
from shelfbench.data.ahead import Decoding
from shelfbench.data.calibration import drawn_photos
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.view import view_for
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.photo_views import note_network


def calibrated(extractor: FeatureExtractor, experiment: Experiment) -> FeatureExtractor:
    """Calibrate an extractor that has to be on photos of the training data, drawn by the study's seed.

    Parameters
    ----------
    extractor : FeatureExtractor
    experiment : Experiment
        Its photos are opened. Equal extractors are calibrated once.

    Returns
    -------
    FeatureExtractor
        The same one if it needs no calibration.

    Raises
    ------
    ShelfbenchError
        If no training photo can be read, or the network cannot be calibrated.
    """
    count = getattr(extractor, "calibration", 0)
    if not count:
        return extractor
    key = fingerprint(extractor.describe())
    if key not in experiment.calibrated:
        material, console = experiment.material, experiment.console
        decoding = Decoding(extractor.pixels, view_for(extractor, experiment.study.images.view), experiment.workers)
        rows = material.image[material.images_of("train")]
        console.log(f"{extractor.name}: calibrating int8 on {min(count, len(rows))} training photos")
        photos = drawn_photos(material.catalogue.images, rows, count, decoding, experiment.study.seed)
        console.log(f"{extractor.name}: calibrating int8 on {len(photos)} training photos")
        with console.stage(f"{extractor.name}: calibrating int8"):
            experiment.calibrated[key] = cast(Any, extractor).calibrated(photos)
            note_network(experiment, experiment.calibrated[key])
    return experiment.calibrated[key]
