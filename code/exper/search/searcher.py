"""The search itself: asks for trials, keeps their runs going, and tells what came of them.

What has happened is read off the files of runs, and off the study; nothing else is remembered. So a search that was
killed is taken up by the same command, and several searchers can share one study.
"""

import contextlib
import math
import select
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial

from exper import files, lists, paths, removal, run_json, status, tagged
from exper.error import Refused
from exper.interrupt import Signals
from exper.repository import TagObject
from exper.search import study as studies
from exper.search import trial as trials
from exper.search import warm
from exper.search.curve import Curve
from exper.search.plan import Plan
from exper.search.progress import Progress
from exper.search.trial import Base
from exper.settings import Value

_LOOK_SECONDS = 0.2  # between two looks at the curves of running trials
_TAKE_OVER_SECONDS = 5.0  # between two looks for trials that another searcher has left
_GOING_ON = ("interrupted", "died")


@dataclass
class Open:
    """A trial of ours that has not ended."""

    asked: Trial
    values: dict[str, Value]
    made: TagObject
    tag: paths.Tag
    tried: set[paths.Run] = field(default_factory=set)  # the runs that we have started; each once

    def run(self, number: int) -> paths.Run:
        return self.tag.run(number)


@dataclass
class Job:
    """A run that trains now."""

    trial: Open
    run: paths.Run
    slot: int
    curve: Curve


class Searcher:
    """Run a search to its end; `failed` then has a line for each run or trial that did not work."""

    def __init__(self, base: Base, study: Study, plan: Plan) -> None:
        self._base, self._study, self._plan = base, study, plan
        epochs = base.config.get("epochs")
        self._epochs = epochs if isinstance(epochs, int) else None
        study.pruner = studies.pruner(plan.pruner, self._epochs or 100)
        self._progress = Progress(base.tag, plan.trials, len(studies.ended(study)), self._epochs, base.direction)
        self._open: list[Open] = []
        self._jobs: dict[int, Job] = {}  # by the pipe that ends with the run
        self._looked = 0.0
        self.failed: list[str] = []
        self.left: list[str] = []  # runs to go on with

    # -- the loop ------------------------------------------------------------------------------------------------------

    def search(self, signals: Signals) -> None:
        """Train until all trials have ended, or until asked to stop.

        Raises:
            Refused: main.py refuses the settings, before any run has come to be.
        """
        with contextlib.closing(self._progress), contextlib.ExitStack() as stack:
            server = None
            while True:
                self._settle()
                while signals.noted is None and len(self._jobs) < len(self._plan.gpus) and (found := self._next()):
                    server = server or stack.enter_context(self._server())
                    self._start(server, *found)
                    signals.receiver = server.pid
                if not self._jobs and (signals.noted is not None or not self._open):
                    return
                self._wait()

    def _server(self) -> warm.Server:
        required = tagged.requirements(self._base.repository, self._base.commit)
        return warm.Server(self._base.project, self._base.threads, required)

    def _next(self) -> tuple[Open, int] | None:
        """Return the run to start next: one of a trial that is open, else of a new trial; None: there is none now."""
        while True:
            for one in self._open:
                for number in self._wanted(one):
                    return one, number
            if not self._ask():
                return None

    def _wanted(self, one: Open) -> Iterator[int]:
        """Yield the ids that a trial's runs still need, unless somebody works on them; the first run comes first."""
        for number in range(self._plan.seeds):
            run = one.run(number)
            state = _state(run)
            is_ours = any(job.run == run for job in self._jobs.values())
            if not is_ours and run not in one.tried and (state is None or state in _GOING_ON) and not _is_held(run):
                yield number
            if number == 0 and state != "finished":
                return  # what it shows decides on the others

    def _ask(self) -> bool:
        """Take over a trial that nobody cares for, or ask for a new one; return whether there is one more."""
        taken = self._take_over()
        if taken is not None:
            self._begin(taken, studies.take(taken, self._base.space, self._sampler))
            return True
        if studies.count(self._study) >= self._plan.trials:
            return False
        asked, values = studies.ask(self._study, self._base.space, self._sampler)
        if asked.number >= self._plan.trials:  # another searcher asked at the same moment
            studies.tell(asked, failed="one more than wanted")
            return False
        self._begin(asked, values)
        return True

    def _take_over(self) -> Trial | None:
        if time.monotonic() - self._looked < _TAKE_OVER_SECONDS:
            return None
        ours = {one.asked.number for one in self._open}
        for left in studies.left_alone(self._study):
            if left.number not in ours:
                return left
        self._looked = time.monotonic()
        return None

    def _sampler(self, number: int) -> BaseSampler:
        return studies.sampler(self._plan.sampler, self._base.space, self._base.seed, number)

    def _begin(self, asked: Trial, values: dict[str, Value]) -> None:
        """Make the trial's tag; its runs follow."""
        try:
            made = trials.make(self._base, values)
        except Refused as refusal:
            self._fail(asked, f"trial {asked.number}", str(refusal))
            return
        asked.set_user_attr(studies.TAG, made.name)
        self._open.append(Open(asked, values, made, self._base.project.tag(made.name)))

    def _start(self, server: warm.Server, one: Open, number: int) -> None:
        run = one.run(number)
        one.tried.add(run)
        slot = min(set(range(len(self._plan.gpus))) - {job.slot for job in self._jobs.values()})
        gpu = self._plan.gpus[slot]
        request = {
            "tag": run.tag,
            "id": number,
            "commit": one.made.commit,
            "seed": self._base.seed + number,
            "threads": self._base.threads,
            "command": ["search", self._base.tag],
            "environment": {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {},
        }
        job = Job(one, run, slot, Curve(run, self._base.metric))
        self._jobs[server.start(request)] = job
        self._progress.start(slot, run)

    # -- what comes of it ----------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait until a run has ended, or it is time to look at the curves."""
        ready = select.select(list(self._jobs), [], [], _LOOK_SECONDS)[0]
        for job in self._jobs.values():
            self._look(job)
        for pipe in ready:
            self._end(self._jobs.pop(pipe), warm.report(pipe))

    def _look(self, job: Job) -> None:
        """Show how far a run is, and end it if it is not worth its time."""
        for epoch, value in job.curve.more():
            self._progress.show(job.slot, epoch, value)
            if self._plan.pruner == "none" or job.run.id or epoch == self._epochs:
                continue
            if studies.is_hopeless(job.trial.asked, epoch, value):
                said = f"{self._plan.pruner} pruner: {self._base.metric} {value:.4g} is behind other trials'"
                warm.prune(job.run, epoch, said)
                return

    def _end(self, job: Job, report: dict[str, str]) -> None:
        self._look(job)
        self._progress.end(job.slot)
        if "bug" in report:
            raise RuntimeError(f"the supervisor of {job.run} failed\n{report['bug']}")
        if "refused" in report:
            removal.take_back_tag(self._base.project, self._base.repository, job.trial.made)
            if not studies.ended(self._study) and not self._jobs:
                raise Refused(report["refused"])
            self._drop(job.trial, str(job.run), report["refused"])
        else:
            lists.append(self._base.project, self._base.tag, f"{self._base.tag}+*")

    def _settle(self) -> None:
        """Tell Optuna of the trials whose runs have ended."""
        for one in list(self._open):
            states = [_state(one.run(number)) for number in range(self._plan.seeds)]
            known = studies.known_value(self._study, one.asked) if states[0] is None else None
            failed = [one.run(number) for number, state in enumerate(states) if state in ("failed", "damaged")]
            if known is not None:
                self._finish(one, known)
            elif failed:
                ended = run_json.ending(run_json.read(failed[0])) if _state(failed[0]) == "failed" else "damaged"
                self._drop(one, str(failed[0]), ended)
            elif states[0] == "pruned":
                studies.tell(one.asked)
                self._open.remove(one)
                self._progress.finish(None, one.tag.name)
            elif all(state == "finished" for state in states):
                self._value(one)
            else:
                self._leave(one, states)

    def _value(self, one: Open) -> None:
        """Tell the mean over a trial's runs of the best that each has reached."""
        found = [_best(one.run(number), self._base.metric) for number in range(self._plan.seeds)]
        lacking = [number for number, value in enumerate(found) if value is None]
        if lacking:
            self._drop(one, str(one.run(lacking[0])), f"has no {self._base.metric}")
        else:
            self._finish(one, statistics.fmean(value for value in found if value is not None))

    def _finish(self, one: Open, value: float) -> None:
        studies.tell(one.asked, value)
        self._open.remove(one)
        self._progress.finish(value, one.tag.name)

    def _leave(self, one: Open, states: list[str | None]) -> None:
        """Leave a trial to a later call, whose run was stopped by somebody else or has died."""
        stopped = [
            run for run, state in ((one.run(number), state) for number, state in enumerate(states))
            if run in one.tried and state in _GOING_ON and not _is_held(run)
            and all(job.run != run for job in self._jobs.values())
        ]  # fmt: skip
        if stopped and all(job.trial is not one for job in self._jobs.values()):
            self.left += [f"{run} {_state(run)}" for run in stopped]
            self._open.remove(one)

    def _drop(self, one: Open, what: str, why: str) -> None:
        if one in self._open:
            self._open.remove(one)
        self._fail(one.asked, what, why)

    def _fail(self, asked: Trial, what: str, why: str) -> None:
        studies.tell(asked, failed=why)
        self._progress.finish(None, what)
        self.failed.append(f"{what}: {why}")


def _state(run: paths.Run) -> str | None:
    return status.read(run) if run.folder.is_dir() else None


def _is_held(run: paths.Run) -> bool:
    return run.folder.is_dir() and status.is_live(run)


def _best(run: paths.Run, metric: str) -> float | None:
    best = files.read_json(run.statistic).get("metric", {}).get("best", {})
    value = best.get(metric)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
