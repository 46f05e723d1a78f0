"""The contents of ``decision.json``: a typed model, read strictly, and conversion from and to a ruling.

``decision.json`` is an object of these keys, in this order: ``format`` (`FORMAT`), the fields of
`shelfbench.decision.rule.Ruling`, ``model`` (`ModelEntry`), ``rests_on`` (`RestsOn`) and ``files`` (the SHA-256 of
every other file of the folder). A key that is not listed here is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from shelfbench.base.errors import InputError
from shelfbench.data.embedding_names import GivenEmbeddings
from shelfbench.data.images import ImageSettings
from shelfbench.decision.ladder import LadderRuling
from shelfbench.decision.ladder_record import RungEntry, check_rungs, rung_entry, rung_of
from shelfbench.decision.money import MoneyEntry, money_values
from shelfbench.decision.parts import Count, EvidenceEntry, MixEntry, Share, Text, evidence_entry, evidence_of, mix_of
from shelfbench.decision.rests_on import RestsOn
from shelfbench.decision.rule import Ruling, Verdict
from shelfbench.runs.guarding import GUARD
from shelfbench.verdict.calibration import Calibrator
from shelfbench.verdict.guard import Guarding
from shelfbench.verdict.temperature import BOUNDS as TEMPERATURES

FORMAT = 1
DECISION, DIGEST = "decision.json", "decision.sha256"
CLASSIFIER = ("classifier.json", "weights.safetensors")
ESTIMATOR = ("classifier.json", "classifier.skops")
"""The classifier of a decision is kept as one of these."""
NETWORK = ("network.json", "network.safetensors")
# What a network's weights are kept in; network.json says which.
INT8 = "network-int8.safetensors"
NETWORK_FILES = ("network.safetensors", INT8, "network.onnx")
ONNX = "model.onnx"
_MIB = 1 << 20
# Every file that a decision may contain, and the largest size of each in bytes.
LIMITS = {
    DECISION: 64 * _MIB,
    DIGEST: 256,
    "classifier.json": 4 * _MIB,
    "network.json": 4 * _MIB,
    "weights.safetensors": 2048 * _MIB,
    "classifier.skops": 2048 * _MIB,
    **dict.fromkeys(NETWORK_FILES, 2048 * _MIB),
    ONNX: 2048 * _MIB,
    # axes of at most 64 MiB, and as many photos or means of categories as are learned from
    GUARD: 80 * _MIB,
}
# The largest image that a stranger's file may make us compute on; no backend of ours exceeds it.
MAX_SIDE = 1024
PROBES = 4


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """How the model of a decision is built, and its input.

    Attributes
    ----------
    backend : str
        Its name in the run.
    fit, scaled
        How a photo becomes a square (see `shelfbench.data.images.ImageSettings`).
    pixels : int
        Side of the square.
    sections : dict
        Settings that features are computed with; empty if the folder contains the network.
    names : tuple of str
        Display names of the categories, in the order of their codes.
    given : GivenEmbeddings or None
        The embeddings that it classifies in place of photos, if it does.
    """

    backend: str
    fit: str
    pixels: int
    sections: dict[str, Any]
    names: tuple[str, ...]
    scaled: bool = False
    given: GivenEmbeddings | None = None


class CategoryEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category: its key and its display name."""

    key: Text
    name: Text


class GuardEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.verdict.guard.Guarding`."""

    kind: Literal["subspace", "neighbours", "mahalanobis"]
    cut: Annotated[float, Meta(ge=0)]
    products: Count
    outside: Count
    sure: Count
    let_through: Count
    part: Literal["the flow"] | UnsetType = UNSET  # otherwise certify

    def guarding(self) -> Guarding:
        """Return the guard's part of a ruling."""
        return Guarding(**{name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET})

    def __post_init__(self) -> None:
        """Refuse counts that contradict each other."""
        if self.outside > self.products or not self.let_through <= self.sure <= self.products:
            raise ValueError("the guard counts more products than there are")


class CalibratorEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """See `shelfbench.verdict.calibration.Calibrator`."""

    method: Text
    temperature: float = 1.0
    factors: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    odds: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Validate the numbers."""
        self.calibrator()

    def calibrator(self) -> Calibrator:
        """Return the calibrator."""
        return Calibrator(**msgspec.structs.asdict(self))


class ImagesEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a photo becomes a square."""

    fit: Text
    scaled: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Validate the settings."""
        ImageSettings(self.fit, self.scaled is True)


class Probe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's output for one probe image: the most likely category's code, and its log-probability."""

    code: Count
    log_probability: Annotated[float, Meta(le=1e-6)]


class OnnxEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs and outputs of ``model.onnx``, for those who deploy it."""

    file: Text
    input: Text
    output: Text
    says: Text


class GivenEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.data.embedding_names.GivenEmbeddings`."""

    source: Text
    column: Text
    by: Literal["row", "file_name", "product_id"]
    dimensions: Annotated[int, Meta(ge=1, le=1_000_000)]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class ModelEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `ModelSpec`; and the model's output for the probe images where the decision was made."""

    backend: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,100}(@[^\x00-\x1f\x7f]{1,1000})?\Z")]
    images: ImagesEntry
    pixels: Annotated[int, Meta(ge=1, le=MAX_SIDE)]
    sections: dict[str, dict[str, Any]]
    probe: Annotated[tuple[Probe, ...], Meta(min_length=PROBES, max_length=PROBES)]
    onnx: OnnxEntry | UnsetType = UNSET
    given: GivenEntry | UnsetType = UNSET


class DecisionRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of ``decision.json``."""

    format: Literal[1]
    verdict: Verdict
    reason: Text
    remedy: Text
    target: Annotated[str, Meta(pattern=r"\A[0-9]{1,10}/[0-9]{1,10}\Z")]
    level: Share
    measure: Literal["probability", "margin", "entropy"]
    threshold: float | None
    missing: Count | None
    aggregation: Literal["mean", "log_mean", "maximum", "vote"]
    temperature: Annotated[float, Meta(ge=TEMPERATURES[0], le=TEMPERATURES[1])]
    categories: Annotated[tuple[CategoryEntry, ...], Meta(min_length=1)]
    off: tuple[Text, ...]
    evidence: tuple[EvidenceEntry, ...]
    plain: EvidenceEntry | None
    mix: MixEntry | None = None  # decisions of earlier versions lack it
    money: MoneyEntry | UnsetType = UNSET
    certified_mix: tuple[Count, ...] | None = None  # and this
    flow: Text | UnsetType = UNSET
    guard: GuardEntry | None = None  # and this
    rungs: tuple[RungEntry, ...] | UnsetType = UNSET  # only a ladder has them
    calibrator: CalibratorEntry | UnsetType = UNSET  # only where the temperature is not all
    model: ModelEntry
    rests_on: RestsOn
    files: dict[str, Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]]

    def __post_init__(self) -> None:
        """Validate what spans several fields.

        Raises
        ------
        ValueError
            If two fields contradict each other.
        """
        keys = {entry.key for entry in self.categories}
        if len(keys) != len(self.categories):
            raise ValueError("a category is listed twice")
        if set(self.off) - keys:
            raise ValueError("a category is switched off that is not listed")
        if self.rungs is not UNSET:
            check_rungs(self.rungs, self.threshold, self.target, len(keys))
            if any(rung.threshold is not None for rung in self.rungs) != (self.verdict == Verdict.PASS):
                raise ValueError(f"the verdict is {self.verdict}, which does not fit the rungs")
        elif (self.threshold is None) != (self.verdict != Verdict.PASS):
            raise ValueError(f"the verdict is {self.verdict}, and the threshold {self.threshold}")
        if self.threshold is not None and self.threshold > 0 and self.measure == "probability":
            raise ValueError("the threshold is not the logarithm of a probability")
        if self.certified_mix is not None and len(self.certified_mix) != len(keys):
            raise ValueError("certified_mix does not have a number for each category")
        numerator, denominator = map(int, self.target.split("/"))
        if not 0 < numerator < denominator:
            raise ValueError("the target is not between 0 and 1")
        if self.calibrator:
            if self.calibrator.temperature != self.temperature:
                raise ValueError("the temperature and that of the calibration differ")
            if self.calibrator.method == "vector" and len(self.calibrator.factors) != len(keys):
                raise ValueError("the calibration is of other categories")
        if any(probe.code >= len(keys) for probe in self.model.probe):
            raise ValueError("a probe's code belongs to no category")
        if strangers := set(self.files) - set(LIMITS):
            raise ValueError(f"it lists {sorted(strangers)[0][:60]!r}, which is not part of a decision")
        if (self.guard is None) == (GUARD in self.files):
            raise ValueError(
                f"it {'has no' if self.guard is None else 'describes a'} guard, and {GUARD} says otherwise"
            )

    @property
    def ruling(self) -> Ruling:
        """The ruling."""
        if self.rungs is UNSET:
            return Ruling(**self._ruling)
        return LadderRuling(**self._ruling, rungs=tuple(map(rung_of, self.rungs)))

    @property
    def _ruling(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "remedy": self.remedy,
            "target": Fraction(self.target),
            "level": self.level,
            "measure": self.measure,
            "threshold": self.threshold,
            "missing": self.missing,
            "aggregation": self.aggregation,
            "temperature": self.temperature,
            "categories": tuple(entry.key for entry in self.categories),
            "off": self.off,
            "evidence": tuple(map(evidence_of, self.evidence)),
            "plain": evidence_of(self.plain) if self.plain else None,
            "mix": mix_of(self.mix),
            "money": self.money.money if self.money else None,
            "certified_mix": self.certified_mix,
            "flow": self.flow or "",
            "guard": self.guard.guarding() if self.guard else None,
            "calibrator": self.calibrator.calibrator() if self.calibrator else None,
        }

    @property
    def spec(self) -> ModelSpec:
        """How the model is built."""
        return ModelSpec(
            backend=self.model.backend,
            fit=self.model.images.fit,
            scaled=self.model.images.scaled is True,
            pixels=self.model.pixels,
            sections=self.model.sections,
            given=GivenEmbeddings(**msgspec.structs.asdict(self.model.given)) if self.model.given else None,
            names=tuple(entry.name for entry in self.categories),
        )


def ruling_values(ruling: Ruling) -> dict[str, Any]:
    """Return the ruling's part of ``decision.json``, as JSON.

    Parameters
    ----------
    ruling : Ruling

    Returns
    -------
    dict
        The fields of the ruling; categories by their keys alone.
    """
    left_out = ("money", "flow", "calibrator")  # written only where there is one
    values = {name: getattr(ruling, name) for name in Ruling.__dataclass_fields__ if name not in left_out}
    if isinstance(ruling, LadderRuling):
        values["rungs"] = list(map(rung_entry, ruling.rungs))
    return {
        **values,
        "verdict": ruling.verdict.value,
        "target": str(ruling.target),
        "categories": list(ruling.categories),
        "off": list(ruling.off),
        "evidence": [evidence_entry(part) for part in ruling.evidence],
        "plain": evidence_entry(ruling.plain) if ruling.plain else None,
        "mix": asdict(ruling.mix) if ruling.mix else None,
        **({"money": money_values(ruling.money)} if ruling.money else {}),
        **({"flow": ruling.flow} if ruling.flow else {}),
        "guard": _guard_values(ruling.guard) if ruling.guard else None,
        **({"calibrator": asdict(ruling.calibrator)} if ruling.calibrator else {}),
    }


def _guard_values(guard: Guarding) -> dict[str, Any]:
    values = asdict(guard)
    return values if guard.part == "the flow" else {name: values[name] for name in values if name != "part"}


def decision_record(
    ruling: Ruling, spec: ModelSpec, found: Mapping[str, Any], rests_on: RestsOn, files: Mapping[str, str]
) -> DecisionRecord:
    """Make all of ``decision.json``.

    Parameters
    ----------
    ruling : Ruling
    spec : ModelSpec
    found : mapping
        ``probe`` and, if there is a graph, ``onnx`` of `ModelEntry`.
    rests_on : RestsOn
    files : mapping of str to str
        SHA-256 of every other file, by name.

    Returns
    -------
    DecisionRecord

    Raises
    ------
    InputError
        If `load_decision` would refuse it, for example because of a space in a backend's name.
    """
    values = {
        "format": FORMAT,
        **ruling_values(ruling),
        "categories": [{"key": key, "name": name} for key, name in zip(ruling.categories, spec.names, strict=True)],
        "model": {
            "backend": spec.backend,
            "images": {"fit": spec.fit, **({"scaled": True} if spec.scaled else {})},
            "pixels": spec.pixels,
            "sections": spec.sections,
            **({"given": asdict(spec.given)} if spec.given else {}),
            **found,
        },
        "rests_on": msgspec.to_builtins(rests_on),
        "files": dict(files),
    }
    try:
        return msgspec.convert(values, DecisionRecord)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{spec.backend} cannot be saved as a decision ({error})", "correct the run or its backend"
        ) from error
