"""The notebook runs from a clean kernel, and what is committed of it is small and whole."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "experiments" / "analyze_results.ipynb"


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_committed_outputs_are_whole_and_small_and_name_no_machine() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    text = NOTEBOOK.read_text(encoding="utf-8")
    for trace in ("/tmp/", "/home/", "/root/", "site-packages"):
        assert trace not in text
    cells = code_cells(nbformat.read(NOTEBOOK, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells[1:])
    assert max(len(cell.source.splitlines()) for cell in cells) <= 16
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.filterwarnings("ignore")  # Those of the notebook tools, not ours.
def test_the_notebook_runs_from_a_clean_kernel(
    embedded_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
    cells = code_cells(notebook)
    assert all(cell.outputs for cell in cells[1:])
    printed = "".join(o.get("text", "") for cell in cells for o in cell.outputs)
    assert "AUROC" in printed
    assert "empathic: score 2" in printed
    assert any("text/html" in o.get("data", {}) for cell in cells for o in cell.outputs)
