"""The notebook of docs/: stored without outputs, and run by a kernel of Jupyter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import allmlp

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any], kind: str) -> str:
    """Return what a cell displayed as `kind`, a MIME type."""
    return "".join(str(output.get("data", {}).get(kind, "")) for output in cell["outputs"])


def write_clothing(folder: Path) -> None:
    """Write a few photos of each class of the embedded photos, as a user's folder: all of them take minutes."""
    dataset = allmlp.open_dataset("clothing")
    for source, counts in (("train", {"train": 8, "val": 2}), ("test", {"test": 5})):
        split = dataset.splits[source]
        for label, name in enumerate(dataset.class_names):
            indices = iter(np.flatnonzero(split.labels == label))
            for target, count in counts.items():
                (folder / target / name).mkdir(parents=True)
                for _ in range(count):
                    index = int(next(indices))
                    (folder / target / name / f"{index}.png").write_bytes(split.read(index))


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert len(cells) == 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.filterwarnings("ignore")  # of Jupyter's libraries
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    opened, trained, scored, predicted, mistaken = cells = code_cells(notebook)
    assert trained["source"].count("epochs=5") == 1
    trained["source"] = trained["source"].replace("epochs=5", "epochs=1")  # for time; nothing else depends on it
    assert opened["source"].count('"clothing"') == 1
    opened["source"] = opened["source"].replace('"clothing"', '"photos"')  # as the notebook says; for time, too
    write_clothing(tmp_path / "photos")
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    assert "t-shirt" in shown(opened, "text/plain")
    assert not [output for cell in cells for output in cell["outputs"] if output.get("name") == "stderr"]
    lines = "".join(output["text"] for output in trained["outputs"] if output["output_type"] == "stream")
    assert "recipe  finetune: 1 epoch" in lines
    html = shown(trained, "text/html")
    assert "<pre>epoch   1   step 1/1   loss " in html  # in place of the bar, when it has ended
    assert "run folder: runs/finetune-1" in html and 'href="runs/finetune-1/report.html"' in html
    assert (tmp_path / "runs/finetune-1/report.html").exists()
    assert "TrainResult(runs/finetune-1: test top-1 " in shown(trained, "text/plain")
    assert "<th>50 photos</th>" in shown(scored, "text/html")
    assert shown(predicted, "text/html").count("<img") == 4
    assert shown(mistaken, "text/html").count("<img") == 8
