"""MLflow: a tracking server, or a SQLite file in `__result__/.mlflow/`."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from exper.core import lock
from exper.sidecars.loggers.run_info import End, Item, Line, RunInfo

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "died": "FAILED", "interrupted": "KILLED", "pruned": "KILLED"}
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
_MAX_METRICS = 1000  # of one request
_MAX_PARAMS = 100  # of one request
_MAX_PARAM = 6000  # characters
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else its page may be that of language models
_CREATION_SECONDS = 60.0
_SETTINGS = {  # sender.py tries again, and knows what waits
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MLflow:
    """A run of MLflow, in the experiment of the project's name."""

    def __init__(self, info: RunInfo, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        self._info = info
        self._experiment = experiment or info.project
        self._uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")

    def start(self, there: dict[str, Any]) -> dict[str, Any]:
        os.environ.update({name: os.environ.get(name, value) for name, value in _SETTINGS.items()})
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri or self._local_uri())
        self._id = there.get("run_id") or self._find_run() or self._create_run()
        if not there:
            self._send_settings()
        self._client.update_run(self._id, status="RUNNING")
        return {"run_id": self._id}

    def _local_uri(self) -> str:
        """Return the address of the project's own database.

        It is created under another name and renamed: a kill during its creation would leave it useless.
        """
        from mlflow import MlflowClient

        folder = self._info.run.project.mlflow
        folder.mkdir(parents=True, exist_ok=True)
        database = folder / "mlflow.db"
        unfinished = folder / ".new.db"
        held = lock.take(folder / "lock", wait_seconds=_CREATION_SECONDS)
        if held is None:
            raise TimeoutError(f"another process has been making {database} for {_CREATION_SECONDS:.0f} s")
        try:
            if not database.exists():
                unfinished.unlink(missing_ok=True)
                unfinished.with_name(f"{unfinished.name}-journal").unlink(missing_ok=True)
                MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
                os.rename(unfinished, database)
        finally:
            os.close(held)
        return f"sqlite:///{database}"

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        artifacts = None if self._uri else (self._info.run.project.mlflow / "artifacts").as_uri()
        return str(self._client.create_experiment(self._experiment, artifacts, _KIND))

    def _find_run(self) -> str | None:
        """Return the id of the run, if it was created before a kill or a lost answer."""
        runs = self._client.search_runs([self._experiment_id()], f"tags.`exper.key` = '{self._info.key}'")
        return str(runs[0].info.run_id) if runs else None

    def _create_run(self) -> str:
        info = self._info
        tags = {"exper.key": info.key, "exper.run": info.name, "mlflow.source.name": info.command}
        tags |= {"mlflow.source.git.commit": commit} if (commit := info.record.get("commit")) else {}
        run = self._client.create_run(self._experiment_id(), _milliseconds(info.started), tags, run_name=info.name)
        return str(run.info.run_id)

    def _send_settings(self) -> None:
        from mlflow.entities import Param

        params = [Param(_name(name), str(value)[:_MAX_PARAM]) for name, value in self._info.config.items()]
        for batch in _batches(params, _MAX_PARAMS):
            self._client.log_batch(self._id, params=batch)

    def missing(self, lines: list[Line]) -> list[Line]:
        names = {name for line in lines for name in line.scalars}
        points = {
            (name, point.step) for name in names for point in self._client.get_metric_history(self._id, _name(name))
        }
        return [line.without(points) for line in lines]

    def log(self, lines: list[Line]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(name), value, now, line.step) for line in lines for name, value in line.scalars.items()]
        for batch in _batches(metrics, _MAX_METRICS):
            self._client.log_batch(self._id, metrics=batch)

    def show(self, item: Item) -> None:
        self._client.log_artifact(self._id, str(item.path), "shown")

    def finish(self, end: End) -> None:
        self.log(self.missing([end.line]))
        for path in self._info.results():
            self._client.log_artifact(self._id, str(path))
        self._client.set_tag(self._id, "exper.status", end.status)
        self._client.set_terminated(self._id, _STATUS[end.status], _milliseconds(end.time))


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
