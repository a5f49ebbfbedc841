"""The pictures of a search: the curves of its trials, and Optuna's pictures of its settings."""

import warnings
from collections.abc import Callable, Sequence

import optuna.visualization.matplotlib as plots
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from exper.core.errors import Refused
from exper.statistic.history import Curve
from exper.views import plotting
from exper.views.plotting import Series, Style

_NAMED = 6  # curves that have a colour and a name
_GREY: Style = {"color": "#B5B5B5", "linewidth": 0.7, "alpha": 0.6, "marker": ""}


def histories(curves: Sequence[tuple[str, Curve]], metric: str, *, log: bool) -> bytes:
    """Return a picture of the curves of trials, given best first: the best have colours and names.

    Raises:
        Refused: there are no curves.
    """
    drawn = [(label, curve) for label, curve in curves if curve.x]
    if not drawn:
        raise Refused(f"no trial has a curve of {metric} here.")
    styles = [plotting.style(number) if number < _NAMED else _GREY for number in range(len(drawn))]
    series = [Series(metric, curve, style) for (_, curve), style in zip(drawn, styles, strict=True)]
    legend = {label: style for (label, _), style in zip(drawn[:_NAMED], styles, strict=False)}
    if len(drawn) > _NAMED:
        legend[f"{len(drawn) - _NAMED:,} more"] = _GREY
    return plotting.draw(series[::-1], legend, log=log, longest=80)  # the best on top


def importance(study: Study, metric: str) -> bytes:
    """Return a picture of the importance of each setting, as Optuna estimates it.

    Raises:
        Refused: the results do not allow an estimate.
    """
    names = sorted({name for trial in _finished(study) for name in trial.params})
    varied = [name for name in names if len({repr(trial.params.get(name)) for trial in _finished(study)}) > 1]
    if not varied or len({trial.value for trial in _finished(study)}) < 2:
        raise Refused("that needs trials with different settings and results.")
    evaluator = PedAnovaImportanceEvaluator()  # deterministic; the others draw random numbers
    draw = lambda: plots.plot_param_importances(study, evaluator, varied, target_name=metric)  # noqa: E731
    return _drawn(draw, 7, 1.2 + 0.4 * len(varied))


def parallel_coordinate(study: Study, metric: str) -> bytes:
    """Return a picture with a line for each trial through its settings and its result.

    Raises:
        Refused: there are no results.
    """
    if not _finished(study):
        raise Refused(f"no trial has a number for {metric}.")
    names = {name for trial in _finished(study) for name in trial.params}
    return _drawn(lambda: _lines(study, metric), 3 + 1.6 * len(names), 5)


def _lines(study: Study, metric: str) -> None:
    axes = plots.plot_parallel_coordinate(study, target_name=metric)
    for other in axes.figure.axes:
        if other.get_label() == "<colorbar>":  # Optuna draws it over the numbers of the last setting
            left, bottom, width, height = other.get_position().bounds
            other.set_position((left + 0.06, bottom, width, height))


def _finished(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _drawn(draw: Callable[[], object], width: float, height: float) -> bytes:
    """Return a picture that Optuna draws; its warnings about experimental features are ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plotting.by_pyplot(draw, width, height)
        except Exception as error:  # an experimental part of Optuna: a picture must not fail the search
            raise Refused(f"Optuna can't draw it: {error}") from None
