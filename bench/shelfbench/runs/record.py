"""The record of a run, ``run.json``, as typed values: what ran, on what data, and how each job ended.

``read_record`` is the only reader of that file. It is tolerant: keys that an older version did not write have their
defaults, unknown keys are ignored, and ``null`` counts as missing. A value of the wrong type is refused, and the
message names its path.

The jobs of a run are under ``backends``: the backends of a comparison, or the jobs of another experiment. Each
experiment has an entry of its own kind (`shelfbench.runs.entries`)::

    record = read_record(Path("results/fashion"))  # RunRecord[BackendEntry]
    record.backends["hog-svm"].chosen["temperature"]

    record = read_record(Path("results/xception"), TrainingEntry)  # RunRecord[TrainingEntry]

`shelfbench.runs.recorder` writes the file while an experiment runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec

from shelfbench.base.errors import InputError
from shelfbench.base.storage import fingerprint, load_json, write_json
from shelfbench.runs.data_record import DatasetRecord
from shelfbench.runs.entries import BackendEntry, Entry

RECORD = "run.json"
CHECKSUM = "checksum"
AGAIN = "run the study again in this directory"
_AS_THEY_ARE = ("study", "chosen", "settings")  # null means something in these


class PartRecord(msgspec.Struct, kw_only=True):
    """Size of a part of the split; None if it is not on record."""

    products: int | None = None
    images: int | None = None
    categories: int | None = None


class NearDuplicates(msgspec.Struct, kw_only=True):
    """Products with nearly the same photo in a part that is read earlier.

    Attributes
    ----------
    products_with_a_twin : dict
        Counts by pair of parts, like ``test in train``; see `shelfbench.data.near_duplicates.Twins.record`.
    images_not_compared : int
        Images that could not be read.
    """

    products_with_a_twin: dict[str, dict[str, int]] = {}
    images_not_compared: int = 0


class Untrained(msgspec.Struct, kw_only=True):
    """Categories without a training product, and the held-out products that cannot be right because of it.

    Attributes
    ----------
    categories : int
    names : list of str
        The first few of them.
    validation, test : int
        Products.
    """

    categories: int = 0
    names: list[str] = []
    validation: int = 0
    test: int = 0


class SplitRecord(msgspec.Struct, kw_only=True):
    """The split of a run.

    Attributes
    ----------
    hash : str
        Empty until the data have been opened.
    rule : str
    train, validation, test : PartRecord
    untrained : Untrained
    near_duplicates : NearDuplicates or None
        None if they were not searched for.
    """

    hash: str = ""
    rule: str = ""
    train: PartRecord = msgspec.field(default_factory=PartRecord)
    validation: PartRecord = msgspec.field(default_factory=PartRecord)
    test: PartRecord = msgspec.field(default_factory=PartRecord)
    untrained: Untrained = msgspec.field(default_factory=Untrained)
    near_duplicates: NearDuplicates | None = None


class SizeRecord(msgspec.Struct, kw_only=True):
    """The size that was chosen for a network's images (``pixels = "auto"``), and why."""

    pixels: int = 0
    reason: str = ""


class Machine(msgspec.Struct, kw_only=True):
    """The machine of a run (see `shelfbench.cost.timing.machine`)."""

    cpu: str = ""
    cores: int | None = None
    memory_gib: float | None = None
    gpus: list[str] = []
    system: str = ""
    python: str = ""


class _ReportSection(msgspec.Struct, kw_only=True):
    targets: list[float] = []
    papers: bool | None = None
    review_cost: float = 0.0
    error_cost: float = 0.0
    price: float = 0.0


class _VerdictSection(msgspec.Struct, kw_only=True):
    confidence_level: float = 0.95
    walk: Literal["tuned", "first"] = "first"


class VariantRecord(msgspec.Struct, kw_only=True):
    """A variant of a study: its label, the figures that show it, and its backend."""

    label: str = ""
    figures: list[str] = []
    backend: str = ""


class StudyRecord(msgspec.Struct, kw_only=True):
    """The settings of a study that a report reads; `RunRecord.study` has all of them as JSON.

    Attributes
    ----------
    name, title : str
    experiment : str
        Empty for a comparison.
    backends : list of str
    report, verdict
        ``report.targets``, ``report.papers``, the prices, ``verdict.confidence_level`` and ``verdict.walk``.
    variants : dict of str to VariantRecord
    """

    name: str = ""
    title: str = ""
    experiment: str = ""
    backends: list[str] = []
    report: _ReportSection = msgspec.field(default_factory=_ReportSection)
    verdict: _VerdictSection = msgspec.field(default_factory=_VerdictSection)
    variants: dict[str, VariantRecord] = {}


class MergedRun(msgspec.Struct, kw_only=True):
    """A run directory that was merged: where it was, what it gave (merged name: name there), and how it was made."""

    directory: str = ""
    backends: dict[str, str] = {}
    study: str = ""
    seed: int | None = None
    command: str = ""
    machine: Machine = msgspec.field(default_factory=Machine)
    shelfbench: str = ""
    finished: str = ""
    differs: dict[str, str] = {}


E = TypeVar("E", bound=Entry)
T = TypeVar("T")


class RunRecord(msgspec.Struct, Generic[E], kw_only=True):
    """The contents of ``run.json``.

    Attributes
    ----------
    shelfbench : str
        Version that wrote it.
    command : str
        The command that repeats this run.
    study : dict
        Every setting, as JSON; `settings` returns the few that a report reads as typed values.
    results_hash : str
        Hash of all settings that can change a prediction.
    seed : int or None
    machine : Machine
    versions : dict of str to str
    started, finished : str
        ISO 8601; `finished` is empty while it runs.
    status, reason : str
        ``running``, ``complete``, ``failed`` or ``interrupted``, and why it failed.
    dataset : DatasetRecord
    split : SplitRecord
    backends : dict of str to Entry
        The jobs of the run by name, in the order of the study.
    sizes : dict of str to SizeRecord
        By network; empty if the study fixes the size of the images.
    networks : dict of str to str
        What was found out or chosen about networks that come in files, by name.
    views : dict of str to str
        How networks see photos in ways of their own, by network; empty if all see them as ``images.fit`` says.
    merged : list of MergedRun
        The run directories whose results these are; empty for a run.
    files : dict of str to str
        SHA-256 of the tables of the whole run (the split, the timings); empty in runs of earlier versions.
    """

    shelfbench: str = ""
    command: str = ""
    study: dict[str, Any] = {}
    results_hash: str = ""
    seed: int | None = None
    machine: Machine = msgspec.field(default_factory=Machine)
    versions: dict[str, str] = {}
    started: str = ""
    finished: str = ""
    status: str = ""
    reason: str = ""
    dataset: DatasetRecord = msgspec.field(default_factory=DatasetRecord)
    split: SplitRecord = msgspec.field(default_factory=SplitRecord)
    backends: dict[str, E] = {}
    sizes: dict[str, SizeRecord] = {}
    networks: dict[str, str] = {}
    views: dict[str, str] = {}
    merged: list[MergedRun] = []
    files: dict[str, str] = {}

    @property
    def homes(self) -> dict[str, tuple[Path, str]]:
        """The run directory of each backend of merged runs, and its name there."""
        return {name: (Path(run.directory), own) for run in self.merged for name, own in run.backends.items()}

    @property
    def settings(self) -> StudyRecord:
        """The settings of the study that a report reads.

        Raises
        ------
        InputError
            If one of them has the wrong type.
        """
        return _typed(self.study, StudyRecord, f"the study in {RECORD}")

    @property
    def experiment(self) -> str:
        """Name of the experiment; empty for a comparison."""
        return str(self.study.get("experiment") or "")


def read_record(directory: Path, entry: type[E] = BackendEntry) -> RunRecord[E]:  # type: ignore[assignment]
    """Read ``run.json`` of a run directory.

    Parameters
    ----------
    directory : Path
        A run directory.
    entry : type of Entry
        The type of its experiment's entries.

    Returns
    -------
    RunRecord

    Raises
    ------
    InputError
        If there is no such file, or it is damaged or not the record of a run.
    """
    return _typed(read_json(directory), RunRecord[entry], str(directory / RECORD))  # type: ignore[valid-type]


def read_json(directory: Path) -> dict[str, Any]:
    """Read ``run.json`` as it is, including unknown keys, for code that continues writing it.

    Parameters
    ----------
    directory : Path
        A run directory.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If there is no such file, or it is not a JSON object.
    """
    path = directory / RECORD
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is not a regular file")
        values = load_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{directory} is not a run directory (it has no {RECORD})", "name the --out of a run"
        ) from None
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} cannot be read ({str(error)[:160]})", AGAIN) from None
    if not isinstance(values, dict):
        raise InputError(f"{path} is not the record of a run (it is not an object)", AGAIN)
    if (noted := values.pop(CHECKSUM, None)) is not None and noted != _checksum(values):
        raise InputError(
            f"{path} has changed since it was written (its checksum differs)",
            f'restore it from a copy; if the change was yours, remove the line of "{CHECKSUM}" from it',
        )
    return values


def write_record(directory: Path, values: dict[str, Any]) -> None:
    """Write ``run.json``, with a checksum of all that it says.

    Parameters
    ----------
    directory : Path
        A run directory.
    values : dict
        As `read_json` returns it.
    """
    values = json.loads(json.dumps(values, allow_nan=False))  # as it will be read: tuples become lists
    write_json(directory / RECORD, {**values, CHECKSUM: fingerprint(values)})


def _checksum(values: dict[str, Any]) -> str:
    try:
        return fingerprint(values)
    except ValueError:  # NaN, which is never written, or half a character
        return ""


def as_json(value: msgspec.Struct) -> dict[str, Any]:
    """Turn a record into input for `write_json`, with every field in order.

    Parameters
    ----------
    value : msgspec.Struct
        May contain NumPy numbers.

    Returns
    -------
    dict
    """
    return dict(msgspec.to_builtins(value, enc_hook=_number))


def _number(value: Any) -> float | int:
    """Turn a NumPy number into a Python number."""
    if hasattr(value, "item"):
        number: float | int = value.item()
        return number
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _typed(values: dict[str, Any], kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(_present(values), kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where} is not the record of a run ({error})", AGAIN) from None


def _present(value: Any) -> Any:
    """Drop null values, so that defaults apply; objects that are shown as they are stay complete."""
    if not isinstance(value, dict):
        return value
    return {key: inner if key in _AS_THEY_ARE else _present(inner) for key, inner in value.items() if inner is not None}
