"""MLflow: at MLFLOW_TRACKING_URI, or else in files in the run folder."""

import os
from collections.abc import Mapping
from typing import Any

from allmlp.io.atomic_write import write_text
from allmlp.training.loggers.logger import LoggedRun, Logger

__all__ = ["open_mlflow"]

_ID_FILE = "run_id.txt"
_EXPERIMENT = "allmlp"
_MAX_VALUE = 500  # characters of a parameter in older versions of MLflow


class _Mlflow:
    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run_id, name, value, step=step)

    def close(self, *, is_finished: bool) -> None:
        self._client.set_terminated(self._run_id, status="FINISHED" if is_finished else "KILLED")


def open_mlflow(run: LoggedRun) -> Logger:
    """Start a run of MLflow, or continue the one whose ID an earlier session kept in RUN/loggers/mlflow."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.folder.absolute()}/mlflow.db"
    )
    id_file = run.folder / _ID_FILE
    if id_file.exists():
        run_id = id_file.read_text(encoding="utf-8").strip()
        client.update_run(run_id, status="RUNNING")
        return _Mlflow(client, run_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    experiment_id = client.create_experiment(name) if experiment is None else experiment.experiment_id
    run_id = client.create_run(experiment_id, run_name=run.name).info.run_id
    write_text(id_file, run_id)
    for key, value in run.settings.items():
        client.log_param(run_id, key, value[:_MAX_VALUE])
    return _Mlflow(client, run_id)
