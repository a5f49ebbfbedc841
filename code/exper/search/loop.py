"""The loop of a search: it asks for trials, keeps their runs going, and records their outcomes.

The state of a search is in the files of its runs and in the study, nowhere else. So the same command resumes a search
that was killed, and several searchers can share a study.
"""

import contextlib
import os
import select
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial

from exper.config.config_file import Value
from exper.core import lock, paths
from exper.core.errors import Refused
from exper.core.signals import Signals
from exper.repository.objects import TagObject
from exper.runs import commits, lifecycle, lists, remove, status
from exper.search import outcome, server, strategies
from exper.search import study as studies
from exper.search import trial as trials
from exper.search.options import Plan
from exper.search.outcome import Curve, Outcome
from exper.search.progress import Progress
from exper.search.trial import Base

_LOOK_SECONDS = 0.2  # between two looks at the curves of running trials
_TAKE_OVER_SECONDS = 5.0  # between two looks for abandoned trials
_MOST_LOST = 3  # requests that are repeated
_STARTABLE = (None, "interrupted", "died")  # states of a run that can be begun or resumed


@dataclass
class OpenTrial:
    """A trial of this searcher that has not ended."""

    asked: Trial  # as Optuna knows it
    tag: TagObject
    runs: list[paths.Run]  # one for each seed
    started: set[paths.Run] = field(default_factory=set)  # by this searcher; each once

    @property
    def number(self) -> int:
        return self.asked.number


@dataclass
class Job:
    """A run that trains now."""

    trial: OpenTrial
    run: paths.Run
    slot: int
    curve: Curve
    report: bytes = b""  # of its supervisor, as far as it has come


class _Start(NamedTuple):
    trial: OpenTrial
    run: paths.Run


class Searcher:
    """Run a search to its end. `failed` has a line for each failed trial, `left` for each run that can be resumed."""

    def __init__(self, base: Base, study: Study, plan: Plan) -> None:
        self._base = base
        self._study = study
        self._plan = plan
        epochs = base.config.get("epochs")
        self._epochs = epochs if isinstance(epochs, int) else None
        study.pruner = strategies.PRUNERS[plan.pruner](self._epochs or 100)
        self._progress = Progress(base.tag, plan.trials, len(studies.ended(study)), self._epochs)
        self._progress.count(study)
        self._open: list[OpenTrial] = []
        self._jobs: dict[int, Job] = {}  # by the pipe that closes when the run ends
        self._looked = 0.0  # for abandoned trials
        self._lost = 0  # requests to a server that was killed
        self._refusals: list[str] = []
        self._has_run = bool(studies.ended(study))  # else all trials so far have been refused
        self.failed: list[str] = []
        self.left: list[str] = []

    # -- the loop ------------------------------------------------------------------------------------------------------

    def search(self, signals: Signals) -> None:
        """Train until all trials have ended, or a signal asks to stop.

        Raises:
            Refused: main.py refuses the settings of the first trials, so perhaps those of all.
        """
        with contextlib.closing(self._progress), contextlib.ExitStack() as stack:
            warm = None
            while True:
                self._close_ended()
                is_refused = bool(self._refusals) and not self._has_run
                while signals.noted is None and not is_refused and (start := self._next()):
                    warm = warm or stack.enter_context(self._server())
                    self._start(warm, start)
                    signals.receiver = warm.pid
                if not self._jobs and is_refused:
                    raise Refused(self._refusals[0])
                if not self._jobs and (signals.noted is not None or not self._open):
                    return
                self._wait()

    def _server(self) -> server.Server:
        required = commits.requirements(self._base.repository, self._base.commit)
        return server.Server(self._base.project, self._base.threads, required)

    def _next(self) -> _Start | None:
        """Return the next run to start, of an open trial or else of a new one; None if there is none now."""
        while len(self._jobs) < len(self._plan.gpus):
            for trial in self._open:
                run = self._startable(trial)
                if run is not None:
                    return _Start(trial, run)
            if not self._ask():
                return None
        return None

    def _startable(self, trial: OpenTrial) -> paths.Run | None:
        """Return a run that a trial still needs and nobody trains; the others wait for the result of the first."""
        busy = self._busy_runs()
        for run in trial.runs:
            state = outcome.state(run)
            is_free = run not in trial.started | busy and (state is None or not status.is_live(run))
            if state in _STARTABLE and is_free:
                return run
            if run == trial.runs[0] and state != "finished":
                return None
        return None

    def _busy_runs(self) -> set[paths.Run]:
        return {job.run for job in self._jobs.values()}

    def _start(self, warm: server.Server, start: _Start) -> None:
        run = start.run
        start.trial.started.add(run)
        slot = min(set(range(len(self._plan.gpus))) - {job.slot for job in self._jobs.values()})
        gpu = self._plan.gpus[slot]
        request = {
            "tag": run.tag,
            "id": run.id,
            "commit": start.trial.tag.commit,
            "seed": self._base.seed + run.id,
            "threads": self._base.threads,
            "command": ["search", self._base.tag],
            "environment": {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {},
        }
        self._jobs[warm.start(request)] = Job(start.trial, run, slot, Curve(run, self._base.metric))
        self._progress.start(slot, run)

    # -- trials to train -----------------------------------------------------------------------------------------------

    def _ask(self) -> bool:
        """Take over an abandoned trial, or ask for a new one; return whether there was one."""
        abandoned = self._take_over()
        if abandoned is not None:
            self._begin(*abandoned)
            return True
        with lock.held(self._base.project.lock):  # two searchers at the same moment would both ask for the last trial
            asked = studies.ask(self._study, self._sampler, self._plan.trials)
        if asked is None:
            return False
        self._begin(asked, studies.take(asked, self._base.space, self._sampler))
        return True

    def _take_over(self) -> tuple[Trial, dict[str, Value]] | None:
        """Take over a trial that another searcher has abandoned, under a lock, so that only one searcher gets it."""
        if time.monotonic() - self._looked < _TAKE_OVER_SECONDS:
            return None
        ours = {trial.number for trial in self._open}
        with lock.held(self._base.project.lock):
            for trial in studies.abandoned(self._study):
                if trial.number not in ours:
                    return trial, studies.take(trial, self._base.space, self._sampler)
        self._looked = time.monotonic()
        return None

    def _sampler(self, number: int) -> BaseSampler:
        return strategies.SAMPLERS[self._plan.sampler](self._base.space, self._base.seed, number)

    def _begin(self, asked: Trial, values: dict[str, Value]) -> None:
        """Create the trial's tag; its runs follow, unless a trial with the same values has a result."""
        try:
            tag = trials.make(self._base, values, self._plan.seeds)
        except Refused as refusal:
            self._tell(asked, Outcome(why=f"trial {asked.number}: {refusal}"))
            return
        asked.set_user_attr(studies.TAG, tag.name)
        value = studies.known_value(self._study, asked)
        if value is not None:
            self._tell(asked, Outcome(value))
            return
        folder = self._base.project.tag(tag.name)
        self._open.append(OpenTrial(asked, tag, [folder.run(number) for number in range(self._plan.seeds)]))

    # -- running and ended runs ----------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait until a run has ended, or it is time to look at the curves."""
        ready = select.select(list(self._jobs), [], [], _LOOK_SECONDS)[0]
        for job in self._jobs.values():
            self._look(job)
        for pipe in ready:
            data = os.read(pipe, 65536)
            self._jobs[pipe].report += data
            if not data:  # the supervisor has ended
                os.close(pipe)
                job = self._jobs.pop(pipe)
                self._end(job, server.parse_report(job.report))

    def _look(self, job: Job) -> None:
        """Show the progress of a run, and end it if the pruner says so."""
        for epoch, value in job.curve.more():
            self._progress.show(job.slot, epoch, value)
            if self._can_prune(job, epoch) and studies.is_hopeless(job.trial.asked, epoch, value):
                why = f"{self._plan.pruner} pruner: {self._base.metric} {value:.4g} is behind other trials'"
                server.prune(job.run, epoch, why)

    def _can_prune(self, job: Job, epoch: int) -> bool:
        """Tell whether a run may be pruned at an epoch: only the first seed, not at the end, and only once."""
        if job.trial not in self._open:  # its end was recorded before its last epochs were read
            return False
        is_first_seed = job.run.id == 0
        return self._plan.pruner != "none" and is_first_seed and epoch != self._epochs and not job.run.prune.exists()

    def _end(self, job: Job, report: dict[str, str]) -> None:
        self._look(job)
        self._progress.end(job.slot)
        if "bug" in report:
            raise RuntimeError(f"the supervisor of {job.run} failed\n{report['bug']}")
        if "refused" in report:
            remove.undo_tag(self._base.project, self._base.repository, job.trial.tag)
            self._refusals.append(report["refused"])
            self._close(job.trial, Outcome(why=f"{job.run}: {report['refused']}"))
        elif "lost" in report:
            if self._lost < _MOST_LOST:
                job.trial.started.discard(job.run)
            self._lost += 1
        else:
            if "failed" in report:  # as on a full disk; the run's files tell its progress
                self.left.append(f"{job.run}: {report['failed']}")
            self._has_run = True
            lists.append(self._base.project, self._base.tag, f"{self._base.tag}+*")

    def _close_ended(self) -> None:
        """Close the trials whose runs have ended; a trial that somebody else has stopped is left to a later call."""
        for trial in list(self._open):
            result = outcome.of(trial.runs, self._base.metric)
            if result is not None:
                self._close(trial, result)
            elif stopped := self._stopped(trial):
                self.left += [f"{run} {outcome.state(run) or 'was not begun'}" for run in stopped]
                self._open.remove(trial)

    def _stopped(self, trial: OpenTrial) -> list[paths.Run]:
        """Return the runs of a trial that were started and then stopped, if nobody trains a run of it now."""
        if not trial.started or self._busy_runs().intersection(trial.runs):
            return []
        stopped = [run for run in trial.runs if run in trial.started and outcome.state(run) in _STARTABLE]
        is_live = stopped and any(status.is_live(run) for run in trial.runs if run.folder.is_dir())
        return [] if is_live else stopped

    def _close(self, trial: OpenTrial, result: Outcome) -> None:
        if trial not in self._open:  # another of its runs has closed it
            return
        self._open.remove(trial)
        for run in trial.runs:  # before the study knows: a kill may have interrupted the end of a run
            if outcome.state(run) == "finished":
                lifecycle.finalize(self._base.project, run, "finished")
        self._tell(trial.asked, result)

    def _tell(self, asked: Trial, result: Outcome) -> None:
        studies.tell(asked, result.value, failed=result.why)
        self._progress.count(self._study)
        if result.why is not None:
            self.failed.append(result.why)
