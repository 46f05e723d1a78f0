"""The notebook of a first look runs from its first cell to its last, and shows what it says."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "first-look.ipynb"


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_links_of_the_notebook_lead_somewhere():
    text = "".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    targets = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert targets
    for target in targets:
        assert (NOTEBOOK.parent / target).is_file(), target


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_says(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = ["".join(map(str, cell.get("outputs", []))) for cell in notebook.cells]
    together = "\n".join(shown)
    assert "bottleneck-2nn-512" in together
    assert "image/png" in together, "the curve is drawn"
    assert any(verdict in together for verdict in ("PASS", "FAIL", "INCONCLUSIVE"))
    assert "suggestion" in together, "the classified products are shown"
    assert (tmp_path / "first-look" / "run" / "report.html").is_file()
    assert (tmp_path / "first-look" / "decision" / "decision.json").is_file()
