"""What is said about a promise, wherever it is said: on the page, in tables, on the terminal and by `decide`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np

from shelfbench.base.grid import number_of, percent
from shelfbench.verdict.certify import ESTIMABLE, Certificate, products_to_certify
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.mix import Mix

# A share measured on fewer test products can be off by more than 5 points.
FEW = 385
# What is measured may rest on twins in earlier parts of the split if at least this share of products has one.
_SEEN = 0.1
# Test is mixed otherwise than the catalogue if the shares of small categories differ by this much.
_MIXED = 0.05
BETTER = "a better classifier, or a lower required precision"
OBSERVED = ", if their precision stays as observed"


def more_labels(more: int, certify: int, labelled: int) -> str:
    """Say how many more labelled products it takes, for certifying and in all.

    Parameters
    ----------
    more : int
        For certifying.
    certify : int
        Products that certify today.
    labelled : int
        Labelled products in all parts of the split.

    Returns
    -------
    str
        The whole is rounded to two digits.
    """
    everything = round(more * labelled / certify)
    everything = round(everything, 2 - len(str(everything)))
    return f"about {more:,} more labelled products for certification, about {everything:,} at this split"


def lacking(found: Certificate, labelled: int) -> str:
    """Say what would let a threshold be certified.

    Parameters
    ----------
    found : Certificate
        One that is not certified.
    labelled : int
        Labelled products in all parts of the split.

    Returns
    -------
    str
        Without a full stop, to go on from a colon.
    """
    if found.hopeless:
        return f"{BETTER}; more labels alone would not be enough"
    if found.missing is not None:
        more = more_labels(found.missing, found.total, labelled)
        return f"{more}{OBSERVED}; or {BETTER}"
    larger = ", or a larger part of validation to certify on (split.certify=0.8, unless it is set already)"
    larger = larger if found.total < ESTIMABLE else ""
    return (
        f"more labelled products{larger}; how many cannot be told from {found.total:,}, for it depends on what they "
        f"will show: {needed(found.target, found.level)}; or {BETTER}"
    )


def needed(target: Fraction, level: float) -> str:
    """Say how many accepted products a certificate takes, for precisions that they may show.

    Parameters
    ----------
    target : Fraction
        Required precision.
    level : float
        Probability with which a threshold keeps it.

    Returns
    -------
    str
    """
    shown = [1 - (1 - target) * share for share in (Fraction(0), Fraction(1, 2), Fraction(7, 10))]
    counts = [products_to_certify(precision, target, level) for precision in shown]
    first, *others = [
        f"{count:,} {'accepted ones if all are right' if precision == 1 else f'if {100 * float(precision):.9g}% are'}"
        for precision, count in zip(shown, counts, strict=True)
    ]
    return f"it takes {first}, {', '.join(others)}"


def mix_of(row: Mapping[Any, Any]) -> Mix | None:
    """Read the results at the catalogue's mix from a row of ``certified.csv``; None if there are none."""
    names = [field.name for field in fields(Mix)]
    if any(f"mix_{name}" not in row or np.isnan(row[f"mix_{name}"]) for name in names):
        return None
    return Mix(**{name: row[f"mix_{name}"] for name in names})


def mix_columns(mix: Mix | None) -> dict[str, float]:
    """Write the results at the catalogue's mix as columns of ``certified.csv``."""
    return {f"mix_{field.name}": np.nan if mix is None else getattr(mix, field.name) for field in fields(Mix)}


def mixture(mix: Mix) -> str:
    """Say how test is mixed compared with the catalogue; empty if much the same.

    Parameters
    ----------
    mix : Mix

    Returns
    -------
    str
        A sentence.
    """
    if mix.small_of_test - mix.small_of_catalogue < _MIXED:
        return ""
    return (
        f"Small categories (at most {mix.small:,.0f} products each) make up {mix.small_of_test:.0%} of test and "
        f"{mix.small_of_catalogue:.0%} of the catalogue."
    )


def shortfall(target: float, measured: tuple[float, float], mix: Mix | None) -> str:
    """Say that a certified threshold falls short on test, the likely reason, and what it means.

    Parameters
    ----------
    target : float
        Promised precision.
    measured : (float, float)
        Precision on test as drawn, and the upper end of its 95% interval.
    mix : Mix or None
        The same at the catalogue's mix.

    Returns
    -------
    str
        Sentences; empty if the precision on test reaches the target. Where only its interval does, that is said.
    """
    value, high = measured
    if np.isnan(value) or value >= target:
        return ""
    wanted = f"{100 * target:.9g}%"
    if high >= target:
        return f"On test, the precision is below {wanted}, but within the noise of so many products."
    short = f"On test, the precision of {percent(value)} falls short of {wanted}, beyond noise."
    if mix is not None and mix.precision_high >= target:
        # the mix of categories explains it
        reached = " and reaches" if mix.precision >= target else ", which is within the noise of"
        return (
            f"{short} The likely reason is the mix of categories. {mixture(mix)} Weighted back to the catalogue's own "
            f"mix, it is {percent(mix.precision)}{reached} {wanted}. The promise is for products mixed as in "
            "validation; products mixed as in test will fall short of it."
        ).replace("  ", " ")
    return (
        f"{short} The mix of categories does not explain it. Do not rely on the promise before you know why: test may "
        "come from other sources or another time than the products that certify, or this is one of the few "
        "certificates that chance makes wrong. Certify again on products like those to come."
    )


def beyond_noise(row: Mapping[Any, Any]) -> bool:
    """Tell whether a certified threshold falls short of its target on test, beyond noise, from its row of the table."""
    return bool(row["certified"] and row["certified_precision_test_high"] < row["target"])


def seen_before(twins: Mapping[str, Mapping[str, int]], certify: int, test: int) -> str:
    """Say that many of the products that are held out have a twin in an earlier part; empty if few have.

    Parameters
    ----------
    twins : dict of str to dict of str to int
        ``products_with_a_twin`` of the record.
    certify : int
        Products that certify.
    test : int
        Products of test.

    Returns
    -------
    str
        Sentences.
    """
    found = []
    for part, products, name in (("certify", certify, "products that certify"), ("test", test, "test products")):
        # one product may have twins in several parts, so the largest count is the one that is sure
        pairs = [
            sum(map(counts.get, ("exact", "near"), (0, 0))) for key, counts in twins.items() if key.startswith(part)
        ]
        if products and (seen := max(pairs, default=0)) >= _SEEN * products:
            found.append(
                f"all {products:,} {name}" if seen == products else f"at least {seen:,} of {products:,} {name}"
            )
    if not found:
        return ""
    return (
        f"Seen before: {' and '.join(found)} share a photo, or nearly, with a product of an earlier part of the split. "
        "What is promised and measured goes for products of which as many have been seen before; the table of leakage "
        "shows both without them."
    )


def small_test(products: int) -> str:
    """Say how far off a share of so many test products can be; empty if they are enough.

    Parameters
    ----------
    products : int

    Returns
    -------
    str
        A sentence.
    """
    if not 0 < products < FEW:
        return ""
    low, high = exact_interval(products // 2, products)
    points = round(50 * float(high - low))
    return (
        f"There {'is' if products == 1 else 'are'} only {number_of(products, 'test product')}: read no more "
        f"than a trend from them. A share measured on so few can be off by {points} points either way."
    )
