"""Search for good settings: `search` in config.py names the settings to vary; each trial is a tagged commit.

Each setting has a list of values, or {"low": 1e-5, "high": 0.1, "log": True}, or {"low": 2, "high": 8, "step": 2}:

    search = {"optimizer.lr": [0.1, 0.01, 0.001], "model.dropout": [0.2, 0.5]}

The committed code is tagged as `run` does it. A second call resumes with that tag's code and space, whatever is checked
out: finished runs are not repeated, interrupted ones continue. The runs of a trial, `wide+lr=0.1+dropout=0.2/0`, are
ordinary runs, and `exper results wide` shows the results.

Examples:
    exper search wide                              every combination of the lists
    exper search wide -j 4                         four at a time: a GPU each, or a share of the cores
    exper search deep --trials 50 --pruner median  50 trials that Optuna chooses; hopeless ones end early
    exper search deep --trials 80                  30 more
    exper search sure --seeds 3                    three seeds for each trial, whose mean counts
    exper search wide --submit 4 -- -t 4:00:00     in SLURM, four jobs of an array at a time
"""

import argparse
import shlex
from typing import TYPE_CHECKING

from exper.config import config_file, logger_registry
from exper.core import slurm
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say, warn
from exper.core.paths import Project
from exper.core.signals import Signals
from exper.repository.objects import TagObject
from exper.repository.repository import Repository
from exper.runs import commits, jobs, lifecycle, remove, run_record, tags
from exper.search import options as search_options
from exper.search import space, trial
from exper.search.trial import Base

if TYPE_CHECKING:
    from optuna.study import Study

    from exper.search.loop import Searcher


def search(arguments: list[str], project: Project) -> int:
    """Create the tag, or resume the search of an existing tag; then search."""
    words, flags = jobs.split_flags(arguments)
    options = _parser().parse_intermixed_args(words)
    _check_jobs(options, flags)
    tags.check_new(options.tag)
    trial.check_tag(options.tag)
    changes = dict(map(config_file.parse_change, options.settings))
    repository = Repository(project.root)
    existing = repository.tag(options.tag)
    if existing is None:
        if slurm.this_job() is not None:  # other code may have been committed since it was submitted
            raise Refused(f"the tag {options.tag!r} is gone.")
        tags.check_free(repository, options.tag)
    uncommitted = [] if existing else commits.uncommitted_changes(project, repository, options)
    with Signals() as signals:
        commit = existing.commit if existing else commits.create(repository, uncommitted, changes, options)
        base = _base(project, repository, options, commit, existing)
        if existing is not None:
            _check_settings(base, changes)
            say(f"search: goes on with the code and the space of the tag {options.tag!r}, {commit[:10]}")
        return _search(base, options, existing, flags, signals)


def _parser() -> Parser:
    parser = Parser("exper search", __doc__)
    parser.add_argument("tag", help="the name of the search: a new git tag, or the tag of a search to resume")
    tags.add_arguments(parser)
    search_options.add_arguments(parser)
    return parser


def _base(
    project: Project, repository: Repository, options: argparse.Namespace, commit: str, existing: TagObject | None
) -> Base:
    """Return the values that all trials share, after a check that the commit can be trained and searched."""
    config = commits.read_config(repository, commit)
    source = repository.file(commit, commits.CONFIG)
    if source is None:
        raise Refused(f"{commits.CONFIG} is not committed, and a search varies its settings. Commit it.")
    goal = space.goal(config)
    if goal is None:
        raise Refused('a search needs `monitor` in config.py, such as "max val/acc": the metric that it optimizes.')
    seed = tags.trailer_number(existing, "Exper-Seed") if existing else None
    if seed is None:
        seed = commits.fixed_seed(repository, commit) if options.fixed else run_record.fresh_seed()
    return Base(
        project=project,
        repository=repository,
        tag=options.tag,
        commit=commit,
        source=source,
        config=config,
        space=space.read(source),
        metric=goal.metric,
        direction=goal.direction,
        seed=seed,
        threads=search_options.threads(config, options.jobs),
    )


def _check_settings(base: Base, changes: dict[str, config_file.Value]) -> None:
    """Refuse name=value where the tag's config.py has another value."""
    if changes and config_file.edit(base.source, changes) != base.source:
        raise Refused(f"the tag {base.tag!r} holds other settings. Take another tag for these.")


def _check_jobs(options: argparse.Namespace, flags: list[str]) -> None:
    """Refuse a submission without SLURM, and flags of sbatch without a submission."""
    if options.submit:
        slurm.check_here()
    elif flags:
        raise Refused("the words after -- are flags of sbatch, so --submit is needed, too.")


def _search(
    base: Base, options: argparse.Namespace, existing: TagObject | None, flags: list[str], signals: Signals
) -> int:
    from exper.search import study as studies  # with Optuna, which takes a quarter of a second to import
    from exper.search.loop import Searcher

    tag = base.project.tag(base.tag)
    study = studies.load(tag, base.commit, options.storage) if existing else None
    plan = search_options.plan(base.space, base.config, study.user_attrs if study else {}, options)
    if base.seed + plan.seeds > 2**63:
        raise Refused(f"code/seed is {base.seed}, and the last of {plan.seeds} seeds has to be below 2^63. Lower it.")
    lifecycle.check_writable(base.project)
    signals.check()
    new = None if existing else tags.create(base.repository, options, base.commit, base.seed, base.threads)
    try:
        study = study or studies.create(tag, base.commit, base.direction, options.storage)
        studies.remember(study, plan)
        if options.submit:
            return _submit(base, options, flags)
        searcher = Searcher(base, study, plan)
        searcher.search(signals)
    except BaseException as error:
        if new is not None and not trial.runs(base.project, base.tag):
            remove.undo_tag(base.project, base.repository, new)
        if isinstance(error, studies.StorageLost):
            say(f"search: the storage can't be used any more: {studies.reason(error)}. {_to_go_on(options)}")
            return 1
        raise
    return _end(base, options, searcher, study, signals)


def _submit(base: Base, options: argparse.Namespace, flags: list[str]) -> int:
    command = ["search", base.tag, "-j", str(options.jobs)]
    command += ["--storage", options.storage] if options.storage else []
    job = jobs.submit_search(base.project, base.project.tag(base.tag), command, options.submit, flags)
    say(f"search: {base.tag} is queued, as {jobs.describe(job)}. To end it, type: exper cancel {base.tag}")
    return 0


def _end(base: Base, options: argparse.Namespace, searcher: "Searcher", study: "Study", signals: Signals) -> int:
    """Show the results of a search that has ended or was interrupted; return the exit code."""
    if warn("search", searcher.failed):
        say("search: these trials have no result; the others went on")
    _write_results(base, study)
    if signals.noted is not None:
        _say_interrupted(options, signals.noted)
        signals.check()
    warn("search", [f"{line}; it goes on with the next call" for line in searcher.left])
    return 1 if searcher.failed or searcher.left else 0


def _write_results(base: Base, study: "Study") -> None:
    from exper.search import results
    from exper.search import study as studies
    from exper.search.results_table import Search

    try:
        if studies.ended(study):
            results.write(Search(base.project, base.tag, base.space, base.metric, base.direction, study), "search")
        base.repository.pack_tags(f"{base.tag}+*", base.commit)
    except (Refused, OSError, studies.StorageLost) as error:  # the trials matter more than the table
        say(f"search: {studies.reason(error)}")


def _say_interrupted(options: argparse.Namespace, number: int) -> None:
    if slurm.is_to_come_back(number):
        say("search: interrupted; the job goes back into the queue")
        refusal = slurm.requeue()
        if refusal is None:
            return
        say(f"search: SLURM does not requeue the job: {refusal}")
    say(f"search: interrupted. {_to_go_on(options)}")


def _to_go_on(options: argparse.Namespace) -> str:
    storage = f" --storage {shlex.quote(logger_registry.without_user(options.storage))}" if options.storage else ""
    return f"To go on, type: exper search {options.tag}{storage}"
