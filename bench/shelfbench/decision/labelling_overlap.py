"""Whether a flow that is to be labelled is made of the run's own products, from which the classifier has learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.material import BY_PATH
from shelfbench.decision.labelling_flow import Flow
from shelfbench.runs.directory import Run
from shelfbench.runs.reading import reading
from shelfbench.verdict.calibration import log_odds

# A product that is classified again has its log-odds up to this; other photos rarely come as close.
_SAME = 0.02
# From these shares on, the run's products are no accident: of the flow, and of the ids that coincide.
_OF_FLOW, _OF_IDS = 0.05, 0.2
# Fewer products tell nothing, and neither do confidences that agree so often by chance.
_FEWEST, _BY_CHANCE = 10, 0.5


def overlap(run: Run, backend: str, flow: Flow, paths: Sequence[Path] = ()) -> str:
    """Compare the flow with the products of the run, by their ids, by what the backend says of them, and by where.

    Photos are not compared, since a run keeps none: products with the same ids, predictions and confidences have the
    same photos. How often confidences agree by chance is seen on pairs that do not belong together. Where that is
    often, the ids have to do, and a flow that lies where the run's products were read is taken for them.

    Parameters
    ----------
    run : Run
    backend : str
    flow : Flow
    paths : sequence of Path
        Where it was read.

    Returns
    -------
    str
        A warning; empty if no id coincides.

    Raises
    ------
    InputError
        If products of the run make up a twentieth of the flow.
    """
    path = run.file("predictions", backend)
    with reading(path):
        known = pd.read_parquet(path, columns=["product_id", "predicted", "confidence"])
    known = known.set_index(known["product_id"].astype(str))
    here = np.isin(flow.product.astype(str), known.index.to_numpy())
    if not (count := int(here.sum())):
        return ""
    known = known.loc[flow.product[here].astype(str)]
    same = _same_photos(
        (known["predicted"].to_numpy().astype(str), flow.predicted[here].astype(str)),
        (known["confidence"].to_numpy(np.float64), flow.confidence[here]),
    )
    said = f"{count:,} of the {len(flow.product):,} products of the flow have the id of a product of the run"
    likely = 0.0 if same is None else same
    if same is None and (own := [one for one in paths if _own(run, one)]):
        likely, why = 1.0, f"and {own[0]} is where the run read its products"
    else:
        why = f"and the same photos, by what {backend} says of them"
    if count >= _FEWEST and likely >= _OF_IDS and likely * count >= _OF_FLOW * len(flow.product):
        raise InputError(
            f"{said}, {why}", "name products that are not in the run: the classifier has learned from those"
        )
    if same is not None and same < _OF_IDS:
        said += f", though most have other photos, by what {backend} says of them"
    return f"{said}: if they are the same products, leave them out, since the classifier has learned from those"


def _same_photos(predicted: tuple[np.ndarray, np.ndarray], confidence: tuple[np.ndarray, np.ndarray]) -> float | None:
    """Estimate which share of products of the same id has the same photos, in the run and in the flow."""
    seen = (confidence[0] > -np.inf) & (confidence[1] > -np.inf)
    if seen.sum() < _FEWEST:
        return None
    ours, theirs = (log_odds(part[seen]) for part in confidence)
    chance = float((np.abs(np.random.default_rng(0).permutation(ours) - theirs) <= _SAME).mean())
    if chance > _BY_CHANCE:
        return None
    alike = (np.abs(ours - theirs) <= _SAME) & (predicted[0] == predicted[1])[seen]
    return max(float(alike.mean()) - chance, 0.0) / (1 - chance)


def _own(run: Run, path: Path) -> bool:
    """Tell whether a path is, contains or lies in the place from which the run read its products."""
    dataset = run.record.dataset
    if dataset.source != BY_PATH:
        return False
    one, other = path.resolve(), Path(dataset.name).resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)
