"""A decision: the ruling on a classifier together with the classifier, to be saved, loaded and used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import probability
from shelfbench.base.processor import cores
from shelfbench.base.public_arguments import count_argument, path_argument, settings_argument
from shelfbench.base.screen import printable
from shelfbench.data.sources.products import Product
from shelfbench.decision.bundle import copy_decision, load_model
from shelfbench.decision.classifying import classify, classify_photos, columns
from shelfbench.decision.ladder import LadderRuling
from shelfbench.decision.model import Model
from shelfbench.decision.rule import Ruling, Verdict
from shelfbench.decision.telling import told

if TYPE_CHECKING:
    import pandas as pd

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Saving:
    """How a decision is to be saved.

    Attributes
    ----------
    out : Path
    onnx : bool
        Whether to write ``model.onnx`` too.
    command : str
        For the record.
    console : Console
    """

    out: Path
    onnx: bool
    command: str
    console: Console


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decision:
    """Whether a classifier may be deployed, and the classifier itself.

    Made by `shelfbench.decide` from a run, or by `load_decision` from a folder.

    Attributes
    ----------
    model : Model
        Classifier, features and ruling.
    write : callable
        Writes the folder of the decision, and returns the SHA-256 of its ``decision.json``.

    Examples
    --------
    >>> decision = shelfbench.decide("results/fashion", "bottleneck-2nn-512", precision=0.9)  # doctest: +SKIP
    >>> decision.verdict, decision.threshold  # doctest: +SKIP
    (<Verdict.PASS: 'PASS'>, -0.4871)
    >>> decision.save("decision")  # doctest: +SKIP
    >>> shelfbench.load_decision("decision").classify("photos/")  # doctest: +SKIP
    """

    model: Model
    write: Callable[[Saving], str]

    @property
    def ruling(self) -> Ruling:
        """Verdict, reason, remedy, threshold, categories switched off, and the evidence."""
        return self.model.ruling

    @property
    def verdict(self) -> Verdict:
        """PASS, FAIL or INCONCLUSIVE."""
        return self.ruling.verdict

    @property
    def threshold(self) -> float | None:
        """Least confidence at which a product is accepted; a log-probability unless another measure was chosen.

        None unless the verdict is PASS.
        """
        return self.ruling.threshold

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.model.spec.backend

    def save(
        self,
        path: AnyPath,
        *,
        onnx: bool = False,
        command: str = "shelfbench.Decision.save",
        console: Console | None = None,
    ) -> str:
        """Write what ``shelfbench decide --out`` writes, whatever the verdict: whole or not at all.

        Parameters
        ----------
        path : str or path
            A folder that does not exist, is empty, or contains an earlier decision, which is replaced.
        onnx : bool
            Write ``model.onnx`` too.
        command : str
            The command, as noted in the record.
        console : Console, optional
            Where progress is logged; silent by default.

        Returns
        -------
        str
            SHA-256 of ``decision.json``.

        Raises
        ------
        InputError
            If something else is at `path`, or the backend has no network that can be saved as ONNX.
        """
        return self.write(Saving(path_argument(path, "path"), onnx, command, console or Console(quiet=True)))

    def classify(
        self,
        paths: AnyPath | Sequence[AnyPath],
        *,
        settings: Mapping[str, object] | None = None,
        console: Console | None = None,
    ) -> pd.DataFrame:
        """Classify products; those that are not accepted go to review.

        Parameters
        ----------
        paths : str, path, or sequence of them
            Images, folders of images, tables, ``*.parquet``, ``*.tar`` or ``*.bson``; see
            `shelfbench.data.to_classify.products_of`.
        settings : mapping, optional
            ``dataset.file_name``, ``dataset.product_id`` and ``dataset.image``: names of columns, if they differ from
            these.
        console : Console, optional
            Where progress is logged; by default, only warnings are shown.

        Returns
        -------
        DataFrame
            The table that ``shelfbench classify`` writes, one row per product: ``product`` (its id, or the path of its
            only photo), ``category`` (a key, or ``review``), ``name`` (display name of the suggestion), ``confidence``
            (probability of the suggestion; missing if no photo can be read), ``suggestion`` (key of the most likely
            category, accepted or not) and ``reason`` (why it goes to review; missing if it is accepted). With a ladder
            also ``level``, the rung on which it is answered; then `category`, `name` and `confidence` are those of the
            rung (docs/ladder.md).

        Raises
        ------
        InputError
            If a path does not exist or what is there cannot be read.
        """
        several = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, (str, bytes)) else [paths]
        given = [path_argument(path, "a path") for path in several]
        return classify(self.model, given, columns(settings_argument(settings)), console)

    def classify_photos(self, products: Mapping[str, bytes | Sequence[bytes]]) -> pd.DataFrame:
        """Classify products whose photos are in memory, as a service gets them (docs/serving.md).

        One call at a time: two threads must not use a decision at once.

        Parameters
        ----------
        products : mapping of str to bytes, or to a sequence of them
            For each product its encoded photo (JPEG, PNG ...), or several.

        Returns
        -------
        DataFrame
            As from `classify`, in the order of `products`; a photo that cannot be read sends its product to review,
            with the reason.

        Raises
        ------
        InputError
            If a photo is not bytes, or the decision rests on embeddings that were given.
        """
        held = []
        for key, given in products.items():
            photos = (given,) if isinstance(given, bytes) else tuple(given)
            if not all(isinstance(photo, bytes) for photo in photos):
                raise InputError(f"the photos of {str(key)[:80]!r} are not bytes", "give what the file contains")
            held.append(Product(str(key), photos))
        return classify_photos(self.model, held)

    def __repr__(self) -> str:
        """Return backend, verdict and threshold in one line."""
        threshold = "None" if self.threshold is None else f"{self.threshold:.4f}"
        return f"<Decision {self.backend}: {self.verdict}, threshold {threshold}>"

    def __str__(self) -> str:
        """Return a summary of a few lines."""
        found = self.ruling
        lines = [f"{found.verdict}: {self.backend}", f"  {found.reason}"]
        if isinstance(found, LadderRuling):
            lines += [f"  {line}" for line in told(found)]
        elif found.threshold is not None and found.measure == "probability":
            lines.append(f"  accepts products with a confidence of at least {probability(found.threshold)}")
        if found.remedy:
            lines.append(f"  what would change it: {found.remedy}")
        if found.off:
            shown = ", ".join(map(printable, found.off[:10])) + (" ..." if len(found.off) > 10 else "")
            lines.append(f"  categories switched off, chosen on tune ({len(found.off)}): {shown}")
        lines.append(f"  {found.guard or (UNGUARDED_SAMPLE if self.model.labelled else NO_GUARD)}")
        if not isinstance(found, LadderRuling):
            lines += [f"  {part} (for reference only)" for part in found.evidence if part.role == "test"]
        if (mix := found.mix) and not isinstance(found, LadderRuling):
            lines.append(
                f"  on test weighted back to {found.flow or CATALOGUE}: precision {mix.precision:.3f} "
                f"[{mix.precision_low:.3f}, {mix.precision_high:.3f}], acceptance {mix.acceptance:.3f} "
                f"[{mix.acceptance_low:.3f}, {mix.acceptance_high:.3f}] (for reference only)"
            )
        if found.doubt:
            lines.append(f"  {found.doubt}")
        if found.money is not None:
            lines += [f"  {line}" for line in found.money.lines(found.measure)]
        if not found.passed:
            if found.plain is not None:
                lines.append(f"  at the threshold that keeps the precision on tune (not certified): {found.plain}")
            if not self.model.labelled:  # what would change it says it all: no run helps a sample
                lines.append(f"  what to do next: {_NEXT[found.verdict]}")
            lines.append("  classify sends every product to review")
        return "\n".join(lines)


NO_GUARD = (
    "no guard against products unlike those it has learned, since the run was made before there was one: run the study "
    "again in another directory to have it"
)
UNGUARDED_SAMPLE = (
    "no guard against products unlike those it has learned, since the labelled sample was drawn without one: label "
    "draws one behind a guard if it is given the photos of the flow, and the run has a guard"
)
CATALOGUE = "the catalogue's own mix of categories"
_NEXT = {
    Verdict.INCONCLUSIVE: "label more products like those to come, run the study again in another directory, and "
    "decide again; or see whether a lower --precision is enough for you",
    Verdict.FAIL: "see with shelfbench compare whether another backend of the run is better, or run the study with "
    "larger photos or another network; or see whether a lower --precision is enough for you",
}


def load_decision(path: AnyPath, *, workers: int | None = None) -> Decision:
    """Load what ``shelfbench decide`` or `Decision.save` wrote.

    The folder may come from anyone: every file is checked before it is used, and nothing in it is executed.

    Parameters
    ----------
    path : str or path
        The folder.
    workers : int, optional
        Threads that decode photos, and processes of classical features; by default, the cores of this machine.

    Returns
    -------
    Decision

    Raises
    ------
    InputError
        If anything is not as it was written; the message names the file and a remedy.
    """
    folder = path_argument(path, "path")
    model = load_model(folder, cores() if workers is None else count_argument(workers, "workers"))

    def write(saving: Saving) -> str:
        if saving.onnx:
            raise InputError("a loaded decision is copied as it is", "write ONNX when the decision is made")
        return copy_decision(folder, saving.out, model.files)

    return Decision(model=model, write=write)
