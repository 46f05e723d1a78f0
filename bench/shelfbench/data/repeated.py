"""Photos that a catalogue holds more than once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfbench.data.catalogue import Catalogue

CONTRADICTING = "products_with_a_photo_in_another_category"


def perhaps_repeated(digests: np.ndarray) -> np.ndarray:
    """Return the images whose digest begins as another one does: all that are there twice, and hardly any other.

    Sorting eight bytes of each is a small part of the time and memory of sorting whole digests.

    Parameters
    ----------
    digests : ndarray of void or bytes, shape (images,)

    Returns
    -------
    ndarray of int64
        Their places, in order.
    """
    if digests.dtype.itemsize % 8:
        return np.arange(len(digests))
    begins = np.ascontiguousarray(digests).view(np.uint64)[:: digests.dtype.itemsize // 8]
    order = np.argsort(begins)
    equal = begins[order[1:]] == begins[order[:-1]]
    return np.sort(order[np.append(equal, False) | np.append(False, equal)]) if len(order) else order


def contradictions(catalogue: Catalogue, owner: np.ndarray, digest: np.ndarray) -> dict[str, int | str]:
    """Count products that share a photo with a product of another category.

    A label may be wrong, the categories may overlap, or the picture stands for a photo that is missing.

    Parameters
    ----------
    catalogue : Catalogue
    owner : ndarray of int64, shape (images,)
        Product of each image.
    digest : ndarray of int64, shape (images,)
        Code of each image's content. Images whose content no other one has may be left out.

    Returns
    -------
    dict
        Their number, and two of them in words, for the record of the run; empty if there is none.
    """
    frame = pd.DataFrame({"digest": digest, "product": owner, "category": catalogue.product_category[owner]})
    apart = frame.groupby("digest")["category"].transform("nunique") > 1
    if not apart.any():
        return {}
    frame = frame[apart].sort_values(["digest", "category", "product"])
    first = frame[frame["digest"] == frame["digest"].iloc[0]].drop_duplicates("category").head(2)
    such = [
        (str(catalogue.product_id[row.product]), catalogue.categories[row.category].name) for row in first.itertuples()
    ]
    # in folders, the id of a product begins with its category
    texts = [
        product if product.startswith(f"{category}/") else f"{product} in {category}" for product, category in such
    ]
    return {CONTRADICTING: int(frame["product"].nunique()), "such_as": " and ".join(texts)}
