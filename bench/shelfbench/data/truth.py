"""The true category of every product, which is known in a generated catalogue."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfbench.data.catalogue import Catalogue


def read_truth(catalogue: Catalogue, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Read the true categories that `shelfbench generate` keeps next to the photos; training must never see them.

    Parameters
    ----------
    catalogue : Catalogue
    frame : DataFrame
        The manifest of the split.

    Returns
    -------
    DataFrame or None
        ``truth.parquet``: product_id and true_category of the products of `frame`; None if the truth is not known or
        belongs to another catalogue.
    """
    if len(catalogue.images.files) != 1:
        return None
    folder = catalogue.images.files[0].parent
    path = folder / "truth.csv"
    if not path.is_file() or not (folder / "generator.json").is_file():
        return None
    try:
        known = pd.read_csv(path, dtype={"true_category_id": str, "category_id": str}).set_index("product_id")
        own = known.reindex(frame["product_id"])
        given, true = own["category_id"].to_numpy(object), own["true_category_id"].to_numpy(object)
    except (ValueError, KeyError):
        return None
    if not np.array_equal(given, frame["category"].to_numpy(object)):
        return None
    return pd.DataFrame({"product_id": frame["product_id"].to_numpy(), "true_category": true})
