"""The ends of the logs of runs that failed or died."""

from exper.views.report.content import Content, ending
from exper.views.report.markup import Html, count, element, join
from exper.views.report.tail import Tail


def tails(contents: list[Content]) -> Html | None:
    """Return the ends of the logs of runs that failed or died."""
    shown = [_tail(i, one, one.log) for i, one in enumerate(contents) if one.log is not None]
    return join(*shown) if shown else None


def _tail(i: int, one: Content, log: Tail) -> Html:
    what = "the whole log" if log.is_whole else f"the last {count(len(log.lines), 'line')} of the log"
    head = element("summary", element("h3", one.run), " ", ending(one), element("small", f" {what}"))
    text = "\n".join(log.lines) if log.lines else "(nothing was printed)"
    return element("details", head, element("pre", text, tabindex=0), id=f"log-{i}", open=True)
