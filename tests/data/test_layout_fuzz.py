"""Random layouts: each is read as a person would read it, or stops with one line; nothing else happens."""

from collections import Counter

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from tests.helpers.catalogues import opened
from tests.helpers.layout_forms import drawn_layout
from tests.helpers.layouts import key_of, reading

ALL = 2000
FEW = 240


def outcome(catalogue):
    """What was read, as `reading` gives it."""
    data = catalogue.images.read(np.arange(len(catalogue.images)))
    photos = [[] for _ in catalogue.product_id]
    for image, product in zip(data, catalogue.image_product.tolist(), strict=True):
        photos[product].append(bytes(image))
    split = [""] * len(photos) if catalogue.split is None else catalogue.split.tolist()
    names = [key_of(catalogue.categories[code].name) for code in catalogue.product_category.tolist()]
    return Counter((name, part, tuple(sorted(own))) for name, part, own in zip(names, split, photos, strict=True))


def fault(seed, root):
    """Draw and open a layout; return what is wrong about what happened, and whether it was read."""
    drawn = drawn_layout(seed)
    drawn.write(root)
    try:
        found = outcome(opened(root / drawn.path))
    except InputError as error:
        if "\n" in str(error):
            return f"more than one line: {error}", False
        return "" if drawn.may_stop or drawn.must_stop else f"stopped: {error}", False
    if drawn.must_stop:
        return f"read as {sorted({key[:2] for key in found})}, but there are two readings", True
    wanted = reading(drawn.photos)
    if found != wanted:
        less, more = ([key[:2] for key in rest][:3] for rest in (wanted - found, found - wanted))
        return f"{sum(wanted.values())} products, {sum(found.values())} read; not read: {less}; instead: {more}", True
    return "", True


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(FEW), id="few"),
        pytest.param(range(FEW, ALL), id="all", marks=pytest.mark.slow),
    ],
)
def test_a_layout_is_read_as_a_person_would_or_stops(tmp_path, seeds):
    faults, read = {}, 0
    for seed in seeds:
        what, was_read = fault(seed, tmp_path / f"layout-{seed}")
        read += was_read
        if what:
            faults[seed] = f"{drawn_layout(seed).story}: {what}"
    assert not faults, "\n".join(f"{seed} {text}" for seed, text in list(faults.items())[:20])
    assert read > 0.6 * len(seeds), "most layouts have one reading"
