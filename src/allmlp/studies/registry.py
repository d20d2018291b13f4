"""The studies by name. To add one: a file in paper/ that defines `STUDY`, and a line here."""

import importlib
from collections.abc import Mapping

from allmlp.errors import ConfigError, did_you_mean
from allmlp.studies.study import Study

__all__ = ["STUDIES", "load_study"]

STUDIES: Mapping[str, str] = {
    "table1": "allmlp.studies.paper.table1",
    "data_size": "allmlp.studies.paper.data_size",
    "scale": "allmlp.studies.paper.scale",
    "permutations": "allmlp.studies.paper.permutations",
    "token_mixing": "allmlp.studies.paper.token_mixing",
    "resolution": "allmlp.studies.paper.resolution",
    "regularisation": "allmlp.studies.paper.regularisation",
    "cifar_record": "allmlp.studies.paper.cifar_record",
    "avg5": "allmlp.studies.paper.avg5",
    "vtab1k": "allmlp.studies.paper.vtab1k",
    "transfer": "allmlp.studies.paper.transfer",
    "weights": "allmlp.studies.paper.weights",
}
"""By name: the module that defines `STUDY`, which is imported when it is needed."""


def load_study(name: str) -> Study:
    """Return a study.

    Raises:
        ConfigError: there is none of this name; similar names are suggested.
    """
    if name not in STUDIES:
        raise ConfigError(f"unknown study {name!r}.{did_you_mean(name, STUDIES)} Expected one of {', '.join(STUDIES)}.")
    study: Study = importlib.import_module(STUDIES[name]).STUDY
    return study
