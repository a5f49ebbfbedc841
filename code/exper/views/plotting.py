"""Curves as a picture: png, svg or pdf. The same curves give the same bytes. Drawing imports matplotlib."""

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
Style = dict[str, Any]  # of a line, as keyword arguments of matplotlib
_SPLITS = ("train", "val", "valid", "validation", "dev", "eval", "test")
# The colours of Okabe and Ito, which the colour-blind can tell apart, without yellow, which is faint on white.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
_MARKERS = ("", "o", "s", "^", "x", "D", "v", "P")
FAINT: Style = {"linewidth": 0.8, "alpha": 0.55}
BEST: Style = {"color": "#777777", "linestyle": ":", "linewidth": 1.2}
_HARDWARE = "hardware, %"  # no metric of history.jsonl has this name
_WIDTH = 10.0  # inches, as the next two
_ROW = 3.1
_LEGEND_ROW = 0.19
_SETTINGS: Any = {  # matplotlib versions differ in the type of the keys
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 5),
    "lines.markersize": 4,
    "legend.frameon": False,
    "text.parse_math": False,  # a metric's name may contain a $
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
    band: tuple[Sequence[float], Sequence[float]] | None = None  # its lower and upper limits


class Panel(NamedTuple):
    """Axes with one metric, or with one of training and its counterpart of another split."""

    title: str
    metrics: list[str]

    @property
    def against(self) -> str:
        """The quantity of the x axis."""
        return "step" if self.title.startswith("step/") else "minute" if self.title == _HARDWARE else "epoch"


def panels(metrics: Iterable[str]) -> list[Panel]:
    """Put `train/loss` and `val/loss` together; a panel holds one metric of training and one of another split.

    Loss comes first, then metrics in their order, the learning rate, curves by step, and one panel for all hardware.
    """
    names = list(dict.fromkeys(metrics))
    hardware = [name for name in names if name.startswith(_HARDWARE)]
    of_family: dict[str, Panel] = {}
    others: list[Panel] = []
    for name in (name for name in names if name not in hardware):
        panel = of_family.setdefault(family(name), Panel(family(name), []))
        if all(_is_train(name) != _is_train(metric) for metric in panel.metrics):
            panel.metrics.append(name)
        else:
            others.append(Panel(name, [name]))
    position = {name: number for number, name in enumerate(names)}
    in_order = sorted([*of_family.values(), *others], key=lambda panel: (_rank(panel), position[panel.metrics[0]]))
    shown = [panel if len(panel.metrics) > 1 else Panel(panel.metrics[0], panel.metrics) for panel in in_order]
    return [*shown, Panel(_HARDWARE, hardware)] if hardware else shown


def _is_train(metric: str) -> bool:
    return split(metric) == "train"


def _rank(panel: Panel) -> int:
    return 2 if panel.title.startswith("step/") else {"loss": -1, "lr": 1}.get(panel.title, 0)


def split(metric: str) -> str:
    """Return the split of `train/loss` or `loss/train`; an empty string if the name has none."""
    ends = (metric.partition("/")[0], metric.rpartition("/")[2])
    return next((word for word in ends if word in _SPLITS and word != metric), "")


def family(metric: str) -> str:
    """Return the name without its split: `loss` of `train/loss`, `val/loss` and `loss/val`."""
    word = split(metric)
    if not word:
        return metric
    return metric.removeprefix(f"{word}/") if metric.startswith(f"{word}/") else metric.removesuffix(f"/{word}")


def style(number: int) -> Style:
    """Return the look of line `number`: 28 pairs of colour and dashes, then the same again with markers."""
    colors = len(_COLORS)
    dashes = len(_DASHES)
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
    legend = {split(line.metric): line.style for line in series if split(line.metric)}
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
    """Return the picture: panels side by side, and one legend below them.

    Args:
        series: the lines; `panels` says which share a panel.
        legend: the look of a line by its text.
        kind: one of KINDS.
        title: the heading of the picture.
        best: an epoch to mark.
        log: use a logarithmic y axis where all values are above 0.
        dpi: of a png; the width is 10 inches.
        longest: texts of the legend are cut to this many characters.
    """
    with _settings():
        shown = panels(line.metric for line in series)
        columns = len(shown) if len(shown) < 4 else 2 if len(shown) == 4 else 3
        rows = math.ceil(len(shown) / columns)
        figure = _figure(_WIDTH, rows * (_ROW if columns > 1 else 1.5 * _ROW), title, legend, longest)
        for number, panel in enumerate(shown, 1):
            axes = figure.add_subplot(rows, columns, number)
            _fill(axes, panel, [line for line in series if line.metric in panel.metrics], log=log)
            if best is not None and panel.against == "epoch":
                axes.axvline(best, **BEST)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=dpi, metadata=_NO_DATE[kind])
    return file.getvalue()


def by_pyplot(draw: Callable[[], object], width: float, height: float) -> bytes:
    """Return the png of a library's drawing with matplotlib.pyplot; the size is in inches."""
    with _settings():
        from matplotlib import pyplot

        pyplot.rcdefaults()  # the library's drawing is made for these
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
def _settings() -> Iterator[None]:
    """Use our settings instead of the user's matplotlibrc, without warnings of characters that no font has."""
    os.environ["MPLBACKEND"] = "agg"  # the user's, such as a notebook's, need not be installed here
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def _figure(width: float, height: float, title: str, legend: Mapping[str, Style], longest: int) -> "Figure":
    """Return a figure with a title on top and a legend at the bottom; width and height are in inches."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    # matplotlib leaves out texts that begin with _
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

    series = [line._replace(curve=Curve(*map(_drawable, line.curve))) for line in series]
    for line in series:
        axes.plot(*line.curve, markevery=_marked(line), **{**line.style, "marker": line.style["marker"] or "o"})
    if log and 0 < axes.dataLim.ymin < math.inf:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # without formulas
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.set_ylim(axes.get_ylim())  # fits the lines, which the wide interval of two runs would flatten
    for line in series:
        if line.band is not None:
            axes.fill_between(line.curve.x, *line.band, color=line.style["color"], alpha=0.18, linewidth=0)
    axes.set_title(printable(panel.title), fontsize=10)
    if panel.title == _HARDWARE:
        axes.set_ylim(0, 103)
    axes.set_xlabel(panel.against)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=panel.against != "minute", min_n_ticks=1))


def _drawable(values: list[float]) -> list[float]:
    """Return values with NaN for those so large or small that axes overflow."""
    return [value if value == 0 or 1e-300 < abs(value) < 1e300 else math.nan for value in values]


def _marked(line: Series) -> list[int]:
    """Return the points to mark: about 8 of a line with markers, and those without a neighbour, which no line shows."""
    is_shown = [math.isfinite(y) for y in line.curve.y]
    padded = [False, *is_shown, False]
    alone = [at for at, here in enumerate(is_shown) if here and not padded[at] and not padded[at + 2]]
    return sorted({*alone, *(range(0, len(is_shown), 1 + len(is_shown) // 8) if line.style["marker"] else ())})


def short(texts: list[str], longest: int = 40) -> list[str]:
    """Cut long texts in their middle, as far as they stay distinct."""
    for limit in range(longest, max(map(len, texts), default=0), 20):
        cut = [text if len(text) <= limit else f"{text[: limit // 2]}…{text[-limit // 2 + 1 :]}" for text in texts]
        if len(set(cut)) == len(set(texts)):
            return cut
    return texts
