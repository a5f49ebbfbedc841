"""The search itself: asks for trials, keeps their runs going, and tells what came of them.

What has happened is read off the files of runs, and off the study; nothing else is remembered. So a search that was
killed is taken up by the same command, and several searchers can share one study.
"""

import contextlib
import os
import select
import time
from dataclasses import dataclass, field

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial

from exper.config.config_file import Value
from exper.core import lock, paths
from exper.core.errors import Refused
from exper.core.signals import Signals
from exper.repository.objects import TagObject
from exper.runs import commits, lifecycle, lists, remove, status
from exper.search import outcome
from exper.search import server as warm
from exper.search import study as studies
from exper.search import trial as trials
from exper.search.curve import Curve
from exper.search.options import Plan
from exper.search.outcome import Outcome
from exper.search.progress import Progress
from exper.search.trial import Base

_LOOK_SECONDS = 0.2  # between two looks at the curves of running trials
_TAKE_OVER_SECONDS = 5.0  # between two looks for trials that another searcher has left
_MOST_LOST = 3  # requests that are made again
_TO_START = (None, "interrupted", "died")  # what a run is that can be begun, or gone on with


@dataclass
class Open:
    """A trial of ours that has not ended."""

    asked: Trial
    made: TagObject
    runs: list[paths.Run]  # one for each seed
    tried: set[paths.Run] = field(default_factory=set)  # those that we have started; each once


@dataclass
class Job:
    """A run that trains now."""

    trial: Open
    run: paths.Run
    slot: int
    curve: Curve
    said: bytes = b""  # by its supervisor


class Searcher:
    """Run a search to its end; then `failed` has a line for each trial that did, `left` for each run to go on with."""

    def __init__(self, base: Base, study: Study, plan: Plan) -> None:
        self._base, self._study, self._plan = base, study, plan
        epochs = base.config.get("epochs")
        self._epochs = epochs if isinstance(epochs, int) else None
        study.pruner = studies.pruner(plan.pruner, self._epochs or 100)
        self._progress = Progress(base.tag, plan.trials, len(studies.ended(study)), self._epochs)
        self._progress.count(study)
        self._open: list[Open] = []
        self._jobs: dict[int, Job] = {}  # by the pipe that ends with the run
        self._looked = 0.0
        self._lost = 0  # requests to a server that was killed
        self._refusals: list[str] = []
        self._has_run = bool(studies.ended(study))  # or all that was tried has been refused
        self.failed: list[str] = []
        self.left: list[str] = []

    # -- the loop ------------------------------------------------------------------------------------------------------

    def search(self, signals: Signals) -> None:
        """Train until all trials have ended, or until asked to stop.

        Raises:
            Refused: main.py refuses the settings of the first trials, so maybe those of all.
        """
        with contextlib.closing(self._progress), contextlib.ExitStack() as stack:
            server = None
            while True:
                self._settle()
                is_refused = bool(self._refusals) and not self._has_run
                while signals.noted is None and not is_refused and (found := self._next()):
                    server = server or stack.enter_context(self._server())
                    self._start(server, *found)
                    signals.receiver = server.pid
                if not self._jobs and is_refused:
                    raise Refused(self._refusals[0])
                if not self._jobs and (signals.noted is not None or not self._open):
                    return
                self._wait()

    def _server(self) -> warm.Server:
        required = commits.requirements(self._base.repository, self._base.commit)
        return warm.Server(self._base.project, self._base.threads, required)

    def _next(self) -> tuple[Open, paths.Run] | None:
        """Return the run to start next: one of a trial that is open, else of a new trial; None: there is none now."""
        while len(self._jobs) < len(self._plan.gpus):
            for one in self._open:
                run = self._startable(one)
                if run is not None:
                    return one, run
            if not self._ask():
                return None
        return None

    def _startable(self, one: Open) -> paths.Run | None:
        """Return a run that a trial still needs and nobody works on; what the first one shows decides on the others."""
        busy = {job.run for job in self._jobs.values()}
        for run in one.runs:
            state = outcome.state(run)
            if state in _TO_START and run not in one.tried | busy and (state is None or not status.is_live(run)):
                return run
            if run == one.runs[0] and state != "finished":
                return None
        return None

    def _start(self, server: warm.Server, one: Open, run: paths.Run) -> None:
        one.tried.add(run)
        slot = min(set(range(len(self._plan.gpus))) - {job.slot for job in self._jobs.values()})
        gpu = self._plan.gpus[slot]
        request = {
            "tag": run.tag,
            "id": run.id,
            "commit": one.made.commit,
            "seed": self._base.seed + run.id,
            "threads": self._base.threads,
            "command": ["search", self._base.tag],
            "environment": {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {},
        }
        self._jobs[server.start(request)] = Job(one, run, slot, Curve(run, self._base.metric))
        self._progress.start(slot, run)

    # -- what is tried -------------------------------------------------------------------------------------------------

    def _ask(self) -> bool:
        """Take over a trial that nobody cares for, or ask for a new one; return whether there was one more."""
        taken = self._take_over()
        if taken is not None:
            self._begin(*taken)
            return True
        with lock.held(self._base.project.lock):  # or two that look at the same moment would both ask for the last
            asked = studies.ask(self._study, self._sampler, self._plan.trials)
        if asked is None:
            return False
        self._begin(asked, studies.take(asked, self._base.space, self._sampler))
        return True

    def _take_over(self) -> tuple[Trial, dict[str, Value]] | None:
        """Take over a trial that another searcher has left, if there is one: under a lock, or two would take it."""
        if time.monotonic() - self._looked < _TAKE_OVER_SECONDS:
            return None
        ours = {one.asked.number for one in self._open}
        with lock.held(self._base.project.lock):
            left = next((one for one in studies.left_alone(self._study) if one.number not in ours), None)
            if left is not None:
                return left, studies.take(left, self._base.space, self._sampler)
        self._looked = time.monotonic()
        return None

    def _sampler(self, number: int) -> BaseSampler:
        return studies.sampler(self._plan.sampler, self._base.space, self._base.seed, number)

    def _begin(self, asked: Trial, values: dict[str, Value]) -> None:
        """Make the trial's tag; its runs follow. What is known already is answered at once."""
        try:
            made = trials.make(self._base, values, self._plan.seeds)
        except Refused as refusal:
            self._tell(asked, Outcome(why=f"trial {asked.number}: {refusal}"))
            return
        asked.set_user_attr(studies.TAG, made.name)
        known = studies.known_value(self._study, asked)
        if known is not None:
            self._tell(asked, Outcome(known))
            return
        tag = self._base.project.tag(made.name)
        self._open.append(Open(asked, made, [tag.run(number) for number in range(self._plan.seeds)]))

    # -- what comes of it ----------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait until a run has ended, or it is time to look at the curves."""
        ready = select.select(list(self._jobs), [], [], _LOOK_SECONDS)[0]
        for job in self._jobs.values():
            self._look(job)
        for pipe in ready:
            said = os.read(pipe, 65536)
            self._jobs[pipe].said += said
            if not said:  # it has ended
                os.close(pipe)
                job = self._jobs.pop(pipe)
                self._end(job, warm.parsed(job.said))

    def _look(self, job: Job) -> None:
        """Show how far a run is, and end it if it is not worth its time."""
        for epoch, value in job.curve.more():
            self._progress.show(job.slot, epoch, value)
            if job.trial not in self._open:  # its end was recorded before its last epochs were read
                continue
            if self._plan.pruner == "none" or job.run.id or epoch == self._epochs or job.run.prune.exists():
                continue
            if studies.is_hopeless(job.trial.asked, epoch, value):
                said = f"{self._plan.pruner} pruner: {self._base.metric} {value:.4g} is behind other trials'"
                warm.prune(job.run, epoch, said)

    def _end(self, job: Job, report: dict[str, str]) -> None:
        self._look(job)
        self._progress.end(job.slot)
        if "bug" in report:
            raise RuntimeError(f"the supervisor of {job.run} failed\n{report['bug']}")
        if "refused" in report:
            remove.undo_tag(self._base.project, self._base.repository, job.trial.made)
            self._refusals.append(report["refused"])
            self._close(job.trial, Outcome(why=f"{job.run}: {report['refused']}"))
        elif "lost" in report:
            if self._lost < _MOST_LOST:
                job.trial.tried.discard(job.run)
            self._lost += 1
        else:
            if "failed" in report:  # as on a full disk; the run tells how far it came
                self.left.append(f"{job.run}: {report['failed']}")
            self._has_run = True
            lists.append(self._base.project, self._base.tag, f"{self._base.tag}+*")

    def _settle(self) -> None:
        """Tell of the trials whose runs have ended, and leave to a later call those that somebody else has stopped."""
        busy = {job.run for job in self._jobs.values()}
        for one in list(self._open):
            found = outcome.of(one.runs, self._base.metric)
            if found is not None:
                self._close(one, found)
            elif one.tried and not busy.intersection(one.runs):
                stopped = [run for run in one.runs if run in one.tried and outcome.state(run) in _TO_START]
                if stopped and not any(status.is_live(run) for run in one.runs if run.folder.is_dir()):
                    self.left += [f"{run} {outcome.state(run) or 'was not begun'}" for run in stopped]
                    self._open.remove(one)

    def _close(self, one: Open, found: Outcome) -> None:
        if one in self._open:  # or another of its runs has closed it
            self._open.remove(one)
            for run in one.runs:  # before the study knows: a kill may have lost the rest of a run's end
                if outcome.state(run) == "finished":
                    lifecycle.finalize(self._base.project, run, "finished")
            self._tell(one.asked, found)

    def _tell(self, asked: Trial, found: Outcome) -> None:
        studies.tell(asked, found.value, failed=found.why)
        self._progress.count(self._study)
        if found.why is not None:
            self.failed.append(found.why)
