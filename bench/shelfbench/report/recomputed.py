"""Calculations from the papers' own numbers, which need no run and no data, by name (`Claim.recomputed`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shelfbench.base.grid import percent
from shelfbench.report.claims import Claim, load_claims


@dataclass(frozen=True)
class Recomputed:
    """The result of a calculation.

    Attributes
    ----------
    text : str
        The result, in words.
    agrees : bool
        False if it contradicts what the paper prints.
    """

    text: str
    agrees: bool = True


def _passes(claim: Claim) -> Recomputed:
    """Compute passes over the catalogue from the printed epoch of a million images."""
    value = claim.value
    epoch = next(
        other.value["epoch_seconds"]
        for other in load_claims().values()
        if "epoch_seconds" in other.value and other.value["training"] == value["training"]
    )
    seconds = epoch * value["passes"] * value["catalogue"] / 1e6
    amount = seconds / {"hours": 3600, "days": 86400}[value["unit"]]
    return Recomputed(f"{amount:.1f} {value['unit']}", abs(amount / value["amount"] - 1) < 0.01)


def _images_a_second(claim: Claim) -> Recomputed:
    return Recomputed(f"{1e6 / claim.value['epoch_seconds']:,.1f} images/s")


def _literal_decay(claim: Claim) -> Recomputed:
    """Compute the rate after one update with the exponent as printed: training would be over."""
    initial = next(
        other.value["initial"]
        for other in load_claims().values()
        if "initial" in other.value and other.value["recipe"] == claim.value["recipe"]
    )
    return Recomputed(f"as printed, a rate of {initial / (1 + claim.value['printed']):.1e} after one update", False)


def _rejected_precision(claim: Claim) -> Recomputed:
    """Compute the precision of the products that are not accepted, from the two points of Figure 5."""
    whole = load_claims()["C39"].value["precision"]
    accepted, precision = claim.value["acceptance"], claim.value["precision"]
    return Recomputed(
        f"the rejected {percent(1 - accepted)} are {percent((whole - accepted * precision) / (1 - accepted))} right"
    )


def _relative_gain(claim: Claim) -> Recomputed:
    scores = {
        (entry.value["network"], entry.value["fully_connected"]): entry.value["map_100"]
        for entry in load_claims().values()
        if "map_100" in entry.value
    }
    gains = {fc: 100 * (scores["xception", fc] / scores["inception_v3", fc] - 1) for fc in ("yes", "no")}
    return Recomputed(
        f"{gains['yes']:.2f}% with FC layers, {gains['no']:.2f}% without",
        round(gains["yes"], 1) == claim.value["percent"],
    )


def _size_difference(claim: Claim) -> Recomputed:
    sizes = [entry.value["parameters"] for entry in load_claims().values() if "parameters" in entry.value]
    difference = max(sizes) / min(sizes) - 1
    return Recomputed(f"{100 * difference:.2f}%", difference <= claim.value["within"])


def _times_imagenet(claim: Claim) -> Recomputed:
    return Recomputed(f"{claim.value['categories'] / claim.value['imagenet']:.1f} times")


CALCULATIONS: dict[str, Callable[[Claim], Recomputed]] = {
    "passes": _passes,
    "images_a_second": _images_a_second,
    "literal_decay": _literal_decay,
    "rejected_precision": _rejected_precision,
    "relative_gain": _relative_gain,
    "size_difference": _size_difference,
    "times_imagenet": _times_imagenet,
}
