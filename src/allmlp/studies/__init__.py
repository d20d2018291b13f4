"""The paper's studies, rerun at laptop scale: a claim, arms, a plot in the paper's form, and whether the outcome agrees.

Safe to change: `page`, `drawing`, learning/ (how networks are trained in studies).
Invariants: an arm's stored figures are used again only if its settings are the same; nothing is chosen on the scored photos.
To add one: a file in paper/ that defines `STUDY`, and a line in `registry.STUDIES`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allmlp.studies.full_scale import full_scale_table
    from allmlp.studies.page import agreement_of, page_of, results_in
    from allmlp.studies.registry import STUDIES, load_study
    from allmlp.studies.run import StudyRun, resume_study, run_study, stored_results
    from allmlp.studies.study import Arm, ArmContext, ArmResult, FullScale, Study, StudyOptions, Table

__all__ = [
    "STUDIES",
    "Arm",
    "ArmContext",
    "ArmResult",
    "FullScale",
    "Study",
    "StudyOptions",
    "StudyRun",
    "Table",
    "agreement_of",
    "full_scale_table",
    "load_study",
    "page_of",
    "results_in",
    "resume_study",
    "run_study",
    "stored_results",
]

_MODULES = {
    "STUDIES": "registry",
    "Arm": "study",
    "ArmContext": "study",
    "ArmResult": "study",
    "FullScale": "study",
    "Study": "study",
    "StudyOptions": "study",
    "StudyRun": "run",
    "Table": "study",
    "agreement_of": "page",
    "full_scale_table": "full_scale",
    "load_study": "registry",
    "page_of": "page",
    "results_in": "page",
    "resume_study": "run",
    "run_study": "run",
    "stored_results": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
