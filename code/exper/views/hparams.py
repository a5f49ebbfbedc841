"""TensorBoard's HParams tab with the rows of the table: the same names and numbers, of finished runs only.

Nothing is written for it: TensorBoard's own plugin reads from here instead of the event files. So no single points
stand among the curves, and numbers keep their 64 bits.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from tensorboard import errors
from tensorboard.data import provider
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, hparams_plugin, metadata, plugin_data_pb2

from exper.core import paths
from exper.statistic import rows

_KEPT_SECONDS = 1.0  # a page asks several times
_STATUS = {
    "finished": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "died": api_pb2.STATUS_FAILURE,
    "running": api_pb2.STATUS_RUNNING,
}
Contents = dict[str, dict[str, bytes]]


def in_place_of(plugin: Any, choose: Callable[[], list[paths.Run]]) -> Any:
    """Return a plugin as it is; in place of HParams, one that shows the runs that `choose` returns."""
    return _Loader(choose) if plugin is hparams_plugin.HParamsPlugin else plugin


class _Loader(base_plugin.TBLoader):  # type: ignore[misc]
    def __init__(self, choose: Callable[[], list[paths.Run]]) -> None:
        self._choose = choose

    def load(self, context: Any) -> "_Plugin":
        return _Plugin(context, self._choose)


class _Plugin(hparams_plugin.HParamsPlugin):  # type: ignore[misc]
    def __init__(self, context: Any, choose: Callable[[], list[paths.Run]]) -> None:
        super().__init__(context)
        self._context = _Rows(context, choose)

    def is_active(self) -> bool:
        return bool(self._context.settings())

    def _get_scalars_plugin(self) -> "_Curves":
        return _Curves(super()._get_scalars_plugin())


class _Curves:
    """The scalars plugin; the curve of the metric `metric/best/val/acc` is `val/acc`."""

    def __init__(self, scalars: Any) -> None:
        self._scalars = scalars

    def scalars_impl(self, ctx: Any, tag: str, *rest: Any) -> Any:
        try:
            return self._scalars.scalars_impl(ctx, tag.split("/", 2)[-1], *rest)
        except errors.NotFoundError:  # a test has no curve
            return [], "application/json"


class _Rows(backend_context.Context):  # type: ignore[misc]
    """The rows as the plugin reads them from event files, added to what a user's own program has written there."""

    def __init__(self, context: Any, choose: Callable[[], list[paths.Run]]) -> None:
        super().__init__(context)
        self._choose = choose
        self._kept: tuple[float, list[rows.Row]] = (0.0, [])

    def _rows(self) -> list[rows.Row]:
        if time.monotonic() - self._kept[0] > _KEPT_SECONDS or not self._kept[1]:
            self._kept = (time.monotonic(), [_encodable(rows.of(run)) for run in self._choose()])
        return self._kept[1]

    def settings(self) -> Contents:
        """Return the settings and the status of each run that has settings."""
        mixed = _mixed(self._rows())
        contents = {}
        for row in self._rows():
            settings = _settings(row, mixed)
            if settings:
                tags = {metadata.SESSION_START_INFO_TAG: settings, metadata.SESSION_END_INFO_TAG: _end(row)}
                contents[row["run"]] = tags
        return contents

    def hparams_metadata(self, *which: Any, **options: Any) -> Contents:
        theirs: Contents = super().hparams_metadata(*which, **options)
        return theirs | self.settings()

    def scalars_metadata(self, *which: Any) -> Contents:
        """Return the names of metrics: those of rows, and curves that a user's own summaries name; no other curves."""
        theirs = super().hparams_metadata(*which)
        curves = {run: tags for run, tags in super().scalars_metadata(*which).items() if run in theirs}
        ours = {row["run"]: dict.fromkeys(_metrics(row), b"") for row in self._rows()}
        return curves | {run: names for run, names in ours.items() if names}

    def read_last_scalars(self, *which: Any, **options: Any) -> dict[str, dict[str, Any]]:
        scalars: dict[str, dict[str, Any]] = dict(super().read_last_scalars(*which, **options))
        for row in self._rows():
            ours = {name: provider.ScalarDatum(0, 0.0, value) for name, value in _metrics(row).items()}
            scalars[row["run"]] = {**scalars.get(row["run"], {}), **ours}
        return scalars


def _encodable(row: rows.Row) -> rows.Row:
    """Return a row whose names and texts are valid UTF-8: other bytes become escapes."""
    return {_utf8(name): _utf8(value) if isinstance(value, str) else value for name, value in row.items()}


def _utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _metrics(row: rows.Row) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name.startswith("metric/") and _kind(value) is float}


def _kind(value: Any) -> type:
    """Return bool; float for a number that the page can show; str for anything else, which it shows as text."""
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, (int, float)) and abs(value) <= sys.float_info.max else str


def _mixed(of_runs: list[rows.Row]) -> set[str]:
    """Return the settings that are numbers in some runs and text, such as None, in others; they are shown as text."""
    kinds: dict[str, set[type]] = {}
    for row in of_runs:
        for name, value in row.items():
            kinds.setdefault(name, set()).add(_kind(value))
    return {name for name, of_name in kinds.items() if len(of_name) > 1}


def _settings(row: rows.Row, mixed: set[str]) -> bytes:
    """Return the settings as an event file holds them; empty if there are none."""
    info = plugin_data_pb2.SessionStartInfo()
    for name, value in row.items():
        if name.startswith("hparam/"):
            kind = str if name in mixed else _kind(value)
            if kind is bool:
                info.hparams[name].bool_value = value
            elif kind is float:
                info.hparams[name].number_value = value
            else:
                info.hparams[name].string_value = str(value)
    return _content(session_start_info=info) if info.hparams else b""


def _end(row: rows.Row) -> bytes:
    return _content(session_end_info=plugin_data_pb2.SessionEndInfo(status=_STATUS.get(row["status"])))


def _content(**info: Any) -> bytes:
    data: bytes = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **info).SerializeToString()
    return data
