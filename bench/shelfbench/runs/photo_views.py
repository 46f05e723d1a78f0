"""How networks see the photos of a run: at which size, and in which way, said once and noted for the page."""

from __future__ import annotations

from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.photo_size import PhotoSize, choose_size, measure
from shelfbench.data.view import View, view_for
from shelfbench.runs.experiment import Experiment


def _photo_size(experiment: Experiment, view: View) -> PhotoSize:
    """Measure the photos of the catalogue once, seen in one way."""
    if view not in experiment.photo_sizes:
        experiment.photo_sizes[view] = measure(experiment.material.catalogue.images, view)
    return experiment.photo_sizes[view]


def note_network(experiment: Experiment, extractor: FeatureExtractor, *, random: bool = False) -> None:
    """Say what was found out or chosen about a network, once, and note it for the page.

    Parameters
    ----------
    experiment : Experiment
    extractor : FeatureExtractor
    random : bool
        Whether its weights are random.
    """
    notes = tuple(getattr(extractor, "notes", ()))
    if random:
        notes += (f"{extractor.name} has random weights (weights=none): good for trying things out, not for results",)
    if notes:
        experiment.record.note_network(extractor.name, "; ".join(notes))
    for note in notes:
        if experiment.is_new(note):
            experiment.console.log(note)


def pixels_for(experiment: Experiment, extractor: FeatureExtractor) -> int:
    """Choose the size at which a network sees the photos, and note it with the reason; a resumed run keeps its own.

    Parameters
    ----------
    experiment : Experiment
    extractor : FeatureExtractor
        At the size that its network was made for.

    Returns
    -------
    int
        Side of the images, in pixels.
    """
    chosen = experiment.record.size(extractor.name)
    if chosen is None:
        view = view_for(extractor, experiment.study.images.fit)
        chosen = choose_size(_photo_size(experiment, view), extractor.pixels)
        experiment.record.note_size(extractor.name, chosen)
        experiment.console.log(f"{extractor.name} at {chosen.pixels} px: {chosen.reason}")
        _say_larger(experiment, _photo_size(experiment, view).side, chosen.pixels)
    return chosen.pixels


def _say_larger(experiment: Experiment, side: float, pixels: int) -> None:
    """Say, once, how photos are decoded that are at least twice as large as the network sees them."""
    if side < 2 * pixels or not experiment.is_new("larger"):
        return
    larger = f"photos of {side:,.0f} px are larger than needed"
    if experiment.study.images.scaled:
        says = f"{larger}: JPEGs are decoded at a fraction, and pixels differ by about one grey level (images.scaled)"
    else:
        says = (
            f"{larger}: --set images.scaled=true decodes JPEGs at a fraction, in half the time, and pixels differ "
            "by about one grey level"
        )
    experiment.console.log(says)


def note_view(experiment: Experiment, extractor: FeatureExtractor) -> None:
    """Say how a network sees photos, if not as the study says, and note it for the page.

    Parameters
    ----------
    experiment : Experiment
    extractor : FeatureExtractor
    """
    view = view_for(extractor, experiment.study.images.fit)
    if view.own:
        says = view.says(extractor.pixels)
        experiment.record.note_view(extractor.name, says)
        experiment.console.log(f"{extractor.name} sees photos by {says}")
