"""Search for good settings: `search` in config.py says what to vary, and each trial is a tagged commit of its own.

A list of values, or {"low": 1e-5, "high": 0.1, "log": True}, or {"low": 2, "high": 8, "step": 2}, for each setting:

    search = {"optimizer.lr": [0.1, 0.01, 0.001], "model.dropout": [0.2, 0.5]}

The committed code is tagged as `run` does it. A second call goes on with that tag's code and space, whatever is checked
out: what has finished is not repeated, what broke is continued. The runs of a trial, `wide+lr=0.1+dropout=0.2/0`, are
ordinary runs, and `exper results wide` shows what came of them.

Examples:
    exper search wide                              every combination of the lists
    exper search wide -j 4                         four at a time: a GPU each, or a share of the cores
    exper search deep --trials 50 --pruner median  50 trials that Optuna chooses; hopeless ones end early
    exper search deep --trials 80                  30 more
    exper search sure --seeds 3                    each with three seeds, whose mean counts
    exper search wide --submit 4 -- -t 4:00:00     in four jobs of SLURM, of one array, at a time
"""

import argparse
import shlex

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
from exper.search import options as plan
from exper.search import space, trial
from exper.search.trial import Base


def search(arguments: list[str], project: Project) -> int:
    """Tag, or take the tag that there is; then search."""
    words, flags = jobs.split_flags(arguments)
    options = _parser().parse_intermixed_args(words)
    _check_jobs(options, flags)
    tags.check_new(options.tag)
    trial.check_tag(options.tag)
    changes = dict(map(config_file.parse_change, options.settings))
    repository = Repository(project.root)
    known = repository.tag(options.tag)
    if known is None:
        if slurm.this_job() is not None:  # what is committed meanwhile is not what was submitted
            raise Refused(f"the tag {options.tag!r} is gone.")
        tags.check_free(repository, options.tag)
    changed = [] if known else commits.uncommitted_changes(project, repository, options)
    with Signals() as signals:
        commit = known.commit if known else commits.create(repository, changed, changes, options)
        base = _base(project, repository, options, commit, known)
        if known is not None:
            _check_settings(base, changes)
            say(f"search: goes on with the code and the space of the tag {options.tag!r}, {commit[:10]}")
        return _search(base, options, known, flags, signals)


def _parser() -> Parser:
    parser = Parser("exper search", __doc__)
    parser.add_argument("tag", help="the name of the search, a new git tag or one to go on with")
    tags.add_arguments(parser)
    plan.add_arguments(parser)
    return parser


def _base(
    project: Project, repository: Repository, options: argparse.Namespace, commit: str, known: TagObject | None
) -> Base:
    """Return what all trials share, after making sure that it can be trained and searched."""
    config = commits.read_config(repository, commit)
    source = repository.file(commit, commits.CONFIG)
    if source is None:
        raise Refused(f"{commits.CONFIG} is not committed, and a search varies what it holds.")
    direction, metric = space.monitored(config)
    if not metric:
        raise Refused('a search needs `monitor` in config.py, such as "max val/acc": what it makes best.')
    seed = tags.trailer_number(known, "Exper-Seed") if known else None
    if seed is None:
        seed = commits.fixed_seed(repository, commit) if options.fixed else run_record.fresh_seed()
    threads = plan.threads(config, options.jobs)
    found = space.read(source)
    return Base(project, repository, options.tag, commit, source, config, found, metric, direction, seed, threads)


def _check_settings(base: Base, changes: dict[str, config_file.Value]) -> None:
    """Refuse name=value that is not what the tag holds already."""
    if changes and config_file.edit(base.source, changes) != base.source:
        raise Refused(f"the tag {base.tag!r} holds other settings. Take another tag for these.")


def _check_jobs(options: argparse.Namespace, flags: list[str]) -> None:
    """Refuse a submission where there is no SLURM, and flags of sbatch without one."""
    if options.submit:
        slurm.check_here()
    elif flags:
        raise Refused("what follows -- are flags of sbatch, so --submit is needed, too.")


def _search(
    base: Base, options: argparse.Namespace, known: TagObject | None, flags: list[str], signals: Signals
) -> int:
    from exper.search import results  # with Optuna, which takes a quarter of a second to import
    from exper.search import study as studies
    from exper.search.loop import Searcher
    from exper.search.results_table import Search

    project, tag = base.project, base.project.tag(base.tag)
    study = studies.load(tag, base.commit, options.storage) if known else None
    planned = plan.of(base.space, base.config, study.user_attrs if study else {}, options)
    if base.seed + planned.seeds > 2**63:
        raise Refused(
            f"code/seed is {base.seed}, and the last of {planned.seeds} seeds has to be below 2^63. Lower it."
        )
    lifecycle.check_writable(project)
    signals.check()
    made = None if known else tags.create(base.repository, options, base.commit, base.seed, base.threads)
    try:
        study = study or studies.create(tag, base.commit, base.direction, options.storage)
        studies.remember(study, planned)
        if options.submit:
            return _submit(base, options, flags)
        searcher = Searcher(base, study, planned)
        searcher.search(signals)
    except BaseException as error:
        if made is not None and not trial.runs(project, base.tag):
            remove.undo_tag(project, base.repository, made)
        if isinstance(error, studies.Away):
            say(f"search: the storage can't be used any more: {studies.reason(error)}. {_to_go_on(options)}")
            return 1
        raise
    if warn("search", searcher.failed):
        say("search: these trials have no result; the others went on")
    try:
        if studies.ended(study):
            results.write(Search(project, base.tag, base.space, base.metric, base.direction, study), "search")
        base.repository.pack_tags(f"{base.tag}+*", base.commit)
    except (Refused, OSError, studies.Away) as error:  # the trials are what matters
        say(f"search: {studies.reason(error)}")
    if signals.noted is not None:
        _say_interrupted(options, signals.noted)
        signals.check()
    warn("search", [f"{line}; it goes on with the next call" for line in searcher.left])
    return 1 if searcher.failed or searcher.left else 0


def _submit(base: Base, options: argparse.Namespace, flags: list[str]) -> int:
    command = ["search", base.tag, "-j", str(options.jobs)]
    command += ["--storage", options.storage] if options.storage else []
    job = jobs.submit_search(base.project, base.project.tag(base.tag), command, options.submit, flags)
    say(f"search: {base.tag} is queued, as {jobs.describe(job)}. To end it, type: exper cancel {base.tag}")
    return 0


def _to_go_on(options: argparse.Namespace) -> str:
    storage = f" --storage {shlex.quote(logger_registry.without_user(options.storage))}" if options.storage else ""
    return f"To go on, type: exper search {options.tag}{storage}"


def _say_interrupted(options: argparse.Namespace, number: int) -> None:
    if slurm.is_to_come_back(number):
        say("search: interrupted; the job goes back into the queue")
        refusal = slurm.requeue()
        if refusal is None:
            return
        say(f"search: SLURM does not requeue the job: {refusal}")
    say(f"search: interrupted. {_to_go_on(options)}")
