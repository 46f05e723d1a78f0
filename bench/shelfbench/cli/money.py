"""Options that say what things cost: a review, an error, an hour of the machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shelfbench.verdict.costs import Prices


def add_prices(verb: argparse.ArgumentParser) -> None:
    """Add the three options to a verb.

    Parameters
    ----------
    verb : ArgumentParser
    """
    verb.add_argument("--review-cost", metavar="COST", help="what a person's look at one product costs, like 0.05")
    verb.add_argument(
        "--error-cost", metavar="COST", help="what a product that was accepted and is wrong costs, like 1.2"
    )
    verb.add_argument("--price", metavar="COST", help="what an hour of the machine costs, in the same currency")


def given_prices(options: argparse.Namespace) -> Prices | None:
    """Read the three options.

    Parameters
    ----------
    options : Namespace

    Returns
    -------
    Prices or None
        None if none is given.
    """
    if options.review_cost is None and options.error_cost is None and options.price is None:
        return None
    from shelfbench.verdict.costs import Prices

    return Prices.of(options.review_cost, options.error_cost, options.price)


def price_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the three options as settings of a study.

    Parameters
    ----------
    options : Namespace

    Returns
    -------
    dict
    """
    prices = given_prices(options)
    if prices is None:
        return {}
    told = {"report.review_cost": prices.review, "report.error_cost": prices.error}
    return told | ({"report.price": prices.hour} if prices.hour else {})
