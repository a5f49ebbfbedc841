"""Repeat a run from its tag and print EXACT, or the first number that differs and its likely causes.

It trains with the recorded seed and threads in a folder of its own. While it trains, it compares every digit of the
data, of each line of history with the digest of the weights, and of the results. It creates no run, and ends at the
first difference. A run that did not finish is compared up to its end.

Exit code 0: exact. 1: it differs; the files are kept until the next verification. 2: it can't be verified.

Examples:
    exper verify baseline/0
    exper verify baseline/0 --epochs 3    only the first 3 epochs
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from exper.core import files, paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import MOST, printable, say
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import commits, lifecycle, run_record, select, snapshot, status, supervisor, tags
from exper.verify import causes, workspace
from exper.verify.comparison import Comparison

_TO_END_SECONDS = 30
_LONGEST = 200  # characters of a value
_ENDS = {"failed": "failed", "died": "died", "interrupted": "was interrupted", "pruned": "was pruned"}


def verify(arguments: list[str], project: paths.Project) -> int:
    """Check that the run can be repeated, repeat it and print the verdict."""
    options = _parser().parse_args(arguments)
    run = select.single_run(project, options.run)
    record = run_record.read(run)
    state = status.read(run)
    if state in status.ACTIVE:
        raise Refused(f"{run} is {state}. Wait until it has ended.")
    repository = Repository(project.root)
    commit = select.commit_of(repository, run, record)
    config = commits.read_config(repository, commit)
    threads = record.get("threads") or run_record.thread_count(config)
    compared = Comparison(run, is_finished=state == "finished", epochs=_epochs(options.epochs))
    earlier = workspace.earlier(project, run)
    now = run_record.new(run.tag, commit, record["seed"], threads) | {"id": run.id, "tree": record.get("tree")}
    with Signals() as signals, contextlib.ExitStack() as leaving:
        new, held = workspace.new(project, run)
        leaving.callback(workspace.remove, project, new, held)
        now = run_record.begin(now, ["exper", "verify", *arguments])
        again = _Repetition(run, new, held, now)
        _furnish(again, repository, commit, project)
        signals.check()
        _train(project, again, compared, signals)
        if compared.difference is None:
            print("\n".join([_exact(run, compared, state), *compared.notes]))
            return 0
        leaving.pop_all()
    _tell(new, compared, causes.likely(run, record, now, compared, new=new, earlier=earlier))
    return 1


def _parser() -> Parser:
    parser = Parser("exper verify", __doc__)
    parser.add_argument("run", metavar="tag/id", help="the run; its tag alone if that has one run")
    parser.add_argument("--epochs", metavar="n", help="end after n epochs")
    return parser


def _epochs(text: str | None) -> int | None:
    if text is not None and not tags.whole_number(text):
        raise Refused(f"--epochs {text!r}: write a whole number from 1 on.")
    return None if text is None else int(text)


# -- training ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Repetition:
    """A run that is repeated, and the folder of its repetition."""

    of: paths.Run
    run: paths.Verification
    lock: int
    record: run_record.Record


def _train(project: paths.Project, again: _Repetition, compared: Comparison, signals: Signals) -> None:
    """Train until everything is compared, or something differs.

    Raises:
        Refused: main.py refuses its settings.
        Interrupted: training was asked to end, and has.
    """
    run = again.run
    record = again.record
    compared.place = run
    environment = supervisor.environment(run, project.data, record)
    say(f"exper: {again.of} is repeated with seed {record['seed']} and {record['threads']} threads")
    with _Watch(compared, str(again.of)) as watch:
        returncode = supervisor.Supervisor(
            run, run.snapshot, environment, again.lock, signals, start=watch.start, watch=watch.look, is_shown=False
        ).supervise()
    if returncode == 2 and run.refused.exists():
        text = run.refused.read_text(errors="replace").strip()
        raise Refused(f"{again.of} can't be repeated here. Its main.py says: {text}")
    how = lifecycle.outcome(returncode)
    record = run_record.end(record, how, returncode)
    run_record.write(run, record)
    if watch.has_stopped_it:
        return
    if how == "interrupted":
        say(f"exper: the verification of {again.of} was stopped; until then it was exact ({_counted(compared)})")
        raise lifecycle.interruption(returncode, signals)
    compared.end(run_record.ending(record))


def _furnish(again: _Repetition, repository: Repository, commit: str, project: paths.Project) -> None:
    """Write the code, the seed and the record for training.

    Raises:
        Refused: the disk is full or read-only.
    """
    run = again.run
    record = again.record
    try:
        snapshot.write(run.snapshot, repository, commit, project)
        files.replace(run.seed, f"{record['seed']}\n")
        run.heartbeat.touch()
        for folder in (run.checkpoint, run.tensorboard):
            folder.mkdir()
        run_record.write(run, record)
        lifecycle.write_session_header(run, record, "verification")
    except OSError as error:
        raise Refused(f"{again.of} can't be repeated in {run.folder}: {error.strerror or error}.") from None


class _Watch:
    """Compare while training runs, show the progress, and end training when it is no longer needed."""

    def __init__(self, compared: Comparison, title: str) -> None:
        self._compared = compared
        self._pid = 0
        self._stopped = 0.0  # the time of the signal
        self._bar: tqdm[Any] = tqdm(
            desc=f"{title} exact", total=compared.wanted, unit="epoch", leave=False, disable=None, dynamic_ncols=True
        )

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    @property
    def has_stopped_it(self) -> bool:
        return self._stopped > 0

    def start(self, program: supervisor.Program) -> supervisor.Training:
        """Start training and keep its pid."""
        training = supervisor.start(program)
        self._pid = training.pid
        return training

    def look(self) -> None:
        """Compare what training has written so far."""
        if self.has_stopped_it:
            if time.monotonic() > self._stopped + _TO_END_SECONDS:
                os.killpg(self._pid, signal.SIGKILL)
            return
        if self._compared.is_over():
            self._stopped = time.monotonic()
            os.kill(self._pid, signal.SIGTERM)
        self._bar.update(self._compared.epoch - self._bar.n)


# -- the verdict -------------------------------------------------------------------------------------------------------


def _exact(run: paths.Run, compared: Comparison, state: str) -> str:
    how = "EXACT" if state == "finished" else f"EXACT as far as {run} went before it {_ENDS.get(state, f'was {state}')}"
    return f"{how} ({_counted(compared)})"


def _counted(compared: Comparison) -> str:
    if not compared.history:
        return "its results; it has no history"
    epochs = f"{compared.epoch:,} of {compared.epochs:,}" if compared.epoch < compared.epochs else f"{compared.epoch:,}"
    return f"{epochs} epochs, {compared.step:,} steps"


def _tell(new: paths.Verification, compared: Comparison, why: list[str]) -> None:
    difference = compared.difference
    assert difference is not None
    lines = [f"DIFFERS {difference.where}: {difference.quantity}"]
    lines += [f"  recorded  {_shown(difference.recorded)}", f"  now       {_shown(difference.now)}"]
    if difference.also:
        more = f" and {len(difference.also) - MOST} more" if len(difference.also) > MOST else ""
        lines.append(f"  also      {', '.join(difference.also[:MOST])}{more}")
    lines += ["likely causes:", *(f"  {cause}" for cause in why)]
    lines.append(f"its files, until the next verification: {paths.from_here(new.folder)}/")
    print("\n".join(map(printable, lines)))


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
