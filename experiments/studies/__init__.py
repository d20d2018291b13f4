"""Pages of docs/studies/ and their pictures, from the results of `allmlp study`, which are copied to results/<name>.json."""

import json
from pathlib import Path

from allmlp.studies import STUDIES, load_study, page_of

__all__ = ["PAGES", "RESULTS", "ROOT", "page", "stored_results"]

ROOT = Path(__file__).resolve().parents[2]  # not from experiments.tables, which imports this package
RESULTS = ROOT / "experiments" / "studies" / "results"
PAGES = ROOT / "docs" / "studies"


def stored_results():
    """Return the results that are there, by study, in the order of the studies."""
    paths = {name: RESULTS / f"{name}.json" for name in STUDIES}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def page(name, result):
    """Return the page of a study. Its picture is in docs/images/studies/."""
    study = load_study(name)
    picture = f"../images/studies/{name}.png" if study.figure is not None else None
    note = "<!-- Written by `python -m experiments.studies`, from experiments/studies/results. -->\n\n"
    return note + page_of(study, result, picture=picture) + "\n[All studies](../studies.md)\n"
