"""MLflow: a tracking server, or a SQLite file in `__result__/.mlflow/`."""

import os
import re
import time
from datetime import datetime
from typing import Any

from exper.core import lock
from exper.sidecars.loggers.run_info import About, End, Item, Line

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "died": "FAILED", "interrupted": "KILLED", "pruned": "KILLED"}
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
_MOST_METRICS, _MOST_PARAMS, _LONGEST = 1000, 100, 6000  # of one request; characters of a param
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # so that its page is not that of language models
_MAKING_SECONDS = 60.0
_QUICK = {  # sender.py tries again, and knows what waits
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MLflow:
    """A run of MLflow, in the experiment of the project's name."""

    def __init__(self, about: About, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        self._about, self._experiment = about, experiment or about.project
        self._uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")

    def start(self, there: dict[str, Any]) -> dict[str, Any]:
        os.environ.update({name: os.environ.get(name, value) for name, value in _QUICK.items()})
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri or self._local())
        self._id = there.get("run_id") or self._found() or self._made()
        if not there:
            self._tell_settings()
        self._client.update_run(self._id, status="RUNNING")
        return {"run_id": self._id}

    def _local(self) -> str:
        """Return the address of the project's own file, made beside: a kill in the middle would leave it useless."""
        from mlflow import MlflowClient

        folder = self._about.run.project.mlflow
        folder.mkdir(parents=True, exist_ok=True)
        database, beside = folder / "mlflow.db", folder / ".new.db"
        held = lock.take(folder / "lock", wait_seconds=_MAKING_SECONDS)
        if held is None:
            raise TimeoutError(f"another process has been making {database} for {_MAKING_SECONDS:.0f} s")
        try:
            if not database.exists():
                beside.unlink(missing_ok=True)
                beside.with_name(f"{beside.name}-journal").unlink(missing_ok=True)
                MlflowClient(tracking_uri=f"sqlite:///{beside}").search_experiments(max_results=1)
                os.rename(beside, database)
        finally:
            os.close(held)
        return f"sqlite:///{database}"

    def _experiment_id(self) -> str:
        known = self._client.get_experiment_by_name(self._experiment)
        if known is not None:
            return str(known.experiment_id)
        place = None if self._uri else (self._about.run.project.mlflow / "artifacts").as_uri()
        return str(self._client.create_experiment(self._experiment, place, _KIND))

    def _found(self) -> str | None:
        """Return the run, if it was made before a kill or a lost answer."""
        known = self._client.search_runs([self._experiment_id()], f"tags.`exper.key` = '{self._about.key}'")
        return str(known[0].info.run_id) if known else None

    def _made(self) -> str:
        about = self._about
        tags = {"exper.key": about.key, "exper.run": about.name, "mlflow.source.name": about.command}
        tags |= {"mlflow.source.git.commit": commit} if (commit := about.record.get("commit")) else {}
        started = int(about.started.timestamp() * 1000)
        run = self._client.create_run(self._experiment_id(), started, tags, run_name=about.name)
        return str(run.info.run_id)

    def _tell_settings(self) -> None:
        from mlflow.entities import Param

        params = [Param(_name(name), str(value)[:_LONGEST]) for name, value in self._about.config.items()]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _MOST_PARAMS])

    def missing(self, lines: list[Line]) -> list[Line]:
        names = {name for line in lines for name in line.scalars}
        known = {(name, point.step) for name in names for point in self._points(name)}
        return [line.without(known) for line in lines]

    def _points(self, name: str) -> Any:
        return self._client.get_metric_history(self._id, _name(name))

    def log(self, lines: list[Line]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(_name(name), value, now, line.step) for line in lines for name, value in line.scalars.items()]
        for first in range(0, len(found), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=found[first : first + _MOST_METRICS])

    def show(self, item: Item) -> None:
        self._client.log_artifact(self._id, str(item.path), "shown")

    def finish(self, end: End) -> None:
        self.log(self.missing([end.line]))
        for path in self._about.results():
            self._client.log_artifact(self._id, str(path))
        self._client.set_tag(self._id, "exper.status", end.status)
        self._client.set_terminated(self._id, _STATUS[end.status], _milliseconds(end.time))


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
