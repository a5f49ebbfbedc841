"""Curves as a picture: png, svg or pdf. The same curves give the same bytes; matplotlib is imported by the first."""

import contextlib
import io
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.messages import printable
from exper.statistic import history
from exper.statistic.history import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("png", "svg", "pdf")
Style = dict[str, Any]  # of a line, in matplotlib's words
_SPLITS = ("train", "val", "valid", "validation", "dev", "eval", "test")
# Colours of Okabe and Ito that every kind of colour-blindness tells apart, without the yellow that white swallows.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
_MARKERS = ("", "o", "s", "^", "x", "D", "v", "P")
FAINT: Style = {"linewidth": 0.8, "alpha": 0.55}
BEST: Style = {"color": "#777777", "linestyle": ":", "linewidth": 1.2}
_HARDWARE = "hardware, %"  # no metric of history.jsonl has this name
_WIDTH, _ROW, _LEGEND_ROW = 10.0, 3.1, 0.19  # inches
_OURS: Any = {  # the type of its keys differs among versions
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 5),
    "lines.markersize": 4,
    "legend.frameon": False,
    "text.parse_math": False,  # a $ in the name of a metric is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "exper",
    "pdf.fonttype": 42,
}
_NO_DATE: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


class Series(NamedTuple):
    """One line of a picture."""

    metric: str
    curve: Curve
    style: Style
    band: tuple[Sequence[float], Sequence[float]] | None = None  # below and above it


class Panel(NamedTuple):
    """The metrics that share axes: one, or one of training with one that is not."""

    title: str
    metrics: list[str]

    @property
    def against(self) -> str:
        """Return what its curves are drawn against."""
        return "step" if self.title.startswith("step/") else "minute" if self.title == _HARDWARE else "epoch"


def panels(metrics: Iterable[str]) -> list[Panel]:
    """Put `train/loss` and `val/loss` together; loss comes first, the learning rate last, before curves of steps.

    All of the hardware is one panel, the very last.
    """
    found: dict[tuple[str, bool], dict[bool, str]] = {}
    every = list(dict.fromkeys(metrics))
    hardware = [metric for metric in every if metric.startswith(_HARDWARE)]
    for metric in [metric for metric in every if metric not in hardware]:
        is_train = split(metric) == "train"
        is_taken = is_train in found.get((family(metric), False), {})
        key = (metric, True) if is_taken else (family(metric), False)
        found.setdefault(key, {})[is_train] = metric
    order = sorted(found, key=lambda key: 2 * key[0].startswith("step/") + (key[0] == "lr") - (key[0] == "loss"))
    together = [(key[0], list(found[key].values())) for key in order]
    shown = [Panel(name if len(metrics) > 1 else metrics[0], metrics) for name, metrics in together]
    return [*shown, Panel(_HARDWARE, hardware)] if hardware else shown


def split(metric: str) -> str:
    """Return `train`, `val` … of `train/loss`, and of `loss/train`; nothing where there is none."""
    first, last = metric.partition("/")[0], metric.rpartition("/")[2]
    return next((word for word in (first, last) if word in _SPLITS and word != metric), "")


def family(metric: str) -> str:
    """Return what `train/loss` and `val/loss`, or `loss/train` and `loss/val`, have in common."""
    word = split(metric)
    if not word:
        return metric
    return metric.removeprefix(f"{word}/") if metric.startswith(f"{word}/") else metric.removesuffix(f"/{word}")


def style(number: int) -> Style:
    """Return the look of the line `number`: 28 colours and dashes, then the same again with marks."""
    colors, dashes = len(_COLORS), len(_DASHES)
    marker = _MARKERS[number // (colors * dashes) % len(_MARKERS)]
    return {"color": _COLORS[number % colors], "linestyle": _DASHES[number // colors % dashes], "marker": marker}


def of_run(run: paths.Run) -> bytes | None:
    """Return the picture of all curves of a run, with its best epoch; None if it has no curves yet.

    Raises:
        Refused: history.jsonl is damaged.
    """
    curves = history.curves(run)
    if not curves:
        return None
    looks = {"train": style(1) | {"linewidth": 1.2}, "": style(0) | {"color": "#444444"}}
    series = [Series(name, curve, looks.get(split(name), style(0))) for name, curve in curves.items()]
    legend = {split(one.metric): one.style for one in series if split(one.metric)}
    for number, (name, curve) in enumerate(_hardware(run).items(), 2):
        series.append(Series(f"{_HARDWARE} {name}", curve, style(number) | {"linewidth": 1.2}))
        legend[name] = series[-1].style
    best = _best_epoch(run)
    if best is not None:
        legend[f"best epoch: {best:g}"] = BEST
    return draw(series, legend, title=str(run), best=best, dpi=100)


def _hardware(run: paths.Run) -> dict[str, Curve]:
    with contextlib.suppress(Refused):
        return history.hardware(run)
    return {}


def _best_epoch(run: paths.Run) -> float | None:
    best = statistic_file.read_if_readable(run).metrics("best").get("epoch")
    return best if history.is_number(best) else None


def draw(
    series: list[Series],
    legend: Mapping[str, Style],
    *,
    kind: str = "png",
    title: str = "",
    best: float | None = None,
    log: bool = False,
    dpi: int = 150,
    longest: int = 40,
) -> bytes:
    """Return the picture: panels side by side, under them one legend.

    Args:
        series: the lines; those of one metric, or of a family of metrics, share a panel.
        legend: the look of a line under what it says.
        kind: one of KINDS.
        title: stands on top.
        best: an epoch to be marked.
        log: a logarithmic y where all values are above 0.
        dpi: of a png, pixels an inch; the width is 10 inches.
        longest: what the legend says is cut to so many characters.
    """
    with _looking_as_ours():
        shown = panels(one.metric for one in series)
        columns = len(shown) if len(shown) < 4 else 2 if len(shown) == 4 else 3
        rows = math.ceil(len(shown) / columns)
        figure = _figure(_WIDTH, rows * (_ROW if columns > 1 else 1.5 * _ROW), title, legend, longest)
        for number, panel in enumerate(shown, 1):
            axes = figure.add_subplot(rows, columns, number)
            _fill(axes, panel, [one for one in series if one.metric in panel.metrics], log=log)
            if best is not None and panel.against == "epoch":
                axes.axvline(best, **BEST)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=dpi, metadata=_NO_DATE[kind])
    return file.getvalue()


def by_pyplot(draw: Callable[[], object], width: float, height: float) -> bytes:
    """Return the png of what a library draws with matplotlib.pyplot; its size is in inches."""
    with _looking_as_ours():
        from matplotlib import pyplot

        pyplot.rcdefaults()  # what others draw is made for these
        pyplot.switch_backend("agg")  # it opens no window
        try:
            draw()
            pyplot.gcf().set_size_inches(width, height)
            file = io.BytesIO()
            pyplot.savefig(file, dpi=150, bbox_inches="tight", facecolor="white")
        finally:
            pyplot.close("all")
    return file.getvalue()


@contextlib.contextmanager
def _looking_as_ours() -> Iterator[None]:
    """Leave the user's matplotlibrc aside, and warnings of letters that no font has."""
    os.environ["MPLBACKEND"] = "agg"  # another one, of a notebook say, need not be installed here
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_OURS)
        yield


def _figure(width: float, height: float, title: str, legend: Mapping[str, Style], longest: int) -> "Figure":
    """Return a figure with a title on top and a legend at the bottom, in as many columns as fit; inches."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    # matplotlib leaves out what begins with _
    texts = short([f" {text}" if text.startswith("_") else text for text in map(printable, legend)], longest)
    columns = max(1, min(len(texts), int(width / (0.68 + 0.068 * max(map(len, texts), default=0)))))
    figure = Figure((width, height + 0.15 + _LEGEND_ROW * math.ceil(len(texts) / columns)), layout="constrained")
    if title:
        figure.suptitle(printable(title), fontsize=11)
    if legend:
        handles = [Line2D([], [], **look) for look in legend.values()]
        figure.legend(handles, texts, loc="outside lower center", ncols=columns, fontsize=8, handlelength=3.2)
    return figure


def _fill(axes: "Axes", panel: Panel, series: list[Series], *, log: bool) -> None:
    from matplotlib.ticker import LogFormatter, MaxNLocator

    series = [one._replace(curve=Curve(*map(_drawable, one.curve))) for one in series]
    for one in series:
        axes.plot(*one.curve, markevery=_marked(one), **{**one.style, "marker": one.style["marker"] or "o"})
    if log and 0 < axes.dataLim.ymin < math.inf:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # without formulas
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.set_ylim(axes.get_ylim())  # as the lines need it: the interval of two runs would flatten them all
    for one in series:
        if one.band is not None:
            axes.fill_between(one.curve.x, *one.band, color=one.style["color"], alpha=0.18, linewidth=0)
    axes.set_title(printable(panel.title), fontsize=10)
    if panel.title == _HARDWARE:
        axes.set_ylim(0, 103)
    axes.set_xlabel(panel.against)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=panel.against != "minute", min_n_ticks=1))


def _drawable(values: list[float]) -> list[float]:
    """Return values with NaN for those at the ends of what a float can hold, where axes overflow."""
    return [value if value == 0 or 1e-300 < abs(value) < 1e300 else math.nan for value in values]


def _marked(one: Series) -> list[int]:
    """Return which points get a mark: some if the line has marks, and those that no line would show."""
    is_shown = [math.isfinite(y) for y in one.curve.y]
    padded = [False, *is_shown, False]
    alone = [at for at, here in enumerate(is_shown) if here and not padded[at] and not padded[at + 2]]
    return sorted({*alone, *(range(0, len(is_shown), 1 + len(is_shown) // 8) if one.style["marker"] else ())})


def short(texts: list[str], longest: int = 40) -> list[str]:
    """Cut long texts in their middle, as far as they stay different."""
    for limit in range(longest, max(map(len, texts), default=0), 20):
        cut = [text if len(text) <= limit else f"{text[: limit // 2]}…{text[-limit // 2 + 1 :]}" for text in texts]
        if len(set(cut)) == len(set(texts)):
            return cut
    return texts
