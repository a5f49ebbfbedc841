"""Tag the committed code, and train it from a read-only copy of that tag.

The run's files are in __result__/<tag>/0/. Nothing of the working tree, the index, HEAD or a branch is touched.

Examples:
    run baseline                           a fresh seed
    run baseline -f                        the seed in code/seed
    run small model.dropout=0.5 epochs=3   settings changed in the tagged config.py
    run try -m "wider kernels"             uncommitted changes saved in a commit that only the tag holds
"""

import argparse

from exper import life, removal, run_json, settings, tagged, tagging, tags
from exper.arguments import Parser
from exper.error import Refused
from exper.interrupt import Signals
from exper.paths import Project
from exper.repository import Repository, TagObject


def run(arguments: list[str], project: Project) -> int:
    """Tag, then train; an existing tag is used if it holds the same code and has no run."""
    options = _parser().parse_intermixed_args(arguments)
    tags.check_new(options.tag)
    changes = dict(map(settings.parse_change, options.settings))
    repository = Repository(project.root)
    tagging.check_free(repository, options.tag)
    changed = tagging.uncommitted_changes(project, repository, options)
    with Signals() as signals:
        commit = tagging.commit(repository, changed, changes, options)
        known = repository.tag(options.tag)
        if known is not None:
            _check_known(project, repository, known, commit)
            commit = known.commit
        config = tagged.check(repository, commit)
        seed = _seed(repository, commit, known, fixed=options.fixed)
        threads = (known and tags.number_in(known, "Exper-Threads")) or tagged.threads(config)
        record = run_json.new(options.tag, commit, repository.tree(commit), seed, threads)
        command = _command(options)
        life.check_writable(project)
        signals.check()
        tag = known or tagging.create(repository, options, commit, seed, threads)
        try:
            live = life.begin(project, record, command, repository=repository, signals=signals, least=0, is_first=True)
            return life.carry_out(project, live, signals, config)
        except BaseException:
            if known is None:
                removal.take_back_tag(project, repository, tag)
            raise


def _parser() -> Parser:
    parser = Parser("run", __doc__)
    parser.add_argument("tag", help="the name of the experiment, a new git tag")
    tagging.add_arguments(parser)
    return parser


def _command(options: argparse.Namespace) -> list[str]:
    """Return the command as it is recorded: the parts we know, and no other word of the user's."""
    return ["run", options.tag, *(["-f"] if options.fixed else []), *options.settings]


def _check_known(project: Project, repository: Repository, known: TagObject, commit: str) -> None:
    """Refuse a tag that has runs, or holds other code."""
    life.check_first(project.tag(known.name))
    if repository.tree(known.commit) != repository.tree(commit):
        raise Refused(
            f"the tag {known.name!r} holds other code than you have now. Take another tag,"
            f" or remove that one: exper rm {known.name} --tag"
        )


def _seed(repository: Repository, commit: str, known: TagObject | None, *, fixed: bool) -> int:
    """Return the seed in the tag's message; else with -f the one in code/seed; else a fresh one."""
    recorded = tags.number_in(known, "Exper-Seed") if known else None
    written = tagged.seed(repository, commit) if fixed else None
    if recorded is None:
        return run_json.fresh_seed() if written is None else written
    if written not in (None, recorded):
        raise Refused(
            f"the tag records the seed {recorded}, code/seed has {written}. Leave out -f,"
            f" or remove the tag: exper rm {known.name if known else ''} --tag"
        )
    return recorded
