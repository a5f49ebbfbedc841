"""Train the code of a tag or run again, as a new run of that tag; with `-f`, the result is the same, bit for bit.

Examples:
    rerun baseline                     a fresh seed
    rerun baseline/2 -f                the seed of that run
    rerun baseline -f                  the seed of the tag; works on a clone that has only the tag
"""

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import commits, lifecycle, run_record, select, tags


def rerun(arguments: list[str], project: paths.Project) -> int:
    """Train a new run from the commit, and with -f with the seed and threads, of the run or tag."""
    options = _parser().parse_args(arguments)
    reference = tags.parse_reference(options.run)
    tags.refuse_untagged(reference)
    repository = Repository(project.root)
    if reference.number is None:
        original = project.tag(reference.tag).run(0)
        record = _of_tag(repository, project, original, fixed=options.fixed)
    else:
        original = select.runs(project, reference)[0]
        record = run_record.read(original)
        select.commit_of(repository, original, record)
    config = commits.read_config(repository, record["commit"])
    seed = record["seed"] if options.fixed else run_record.fresh_seed()
    threads = (options.fixed and record.get("threads")) or run_record.thread_count(config)
    new = run_record.new(reference.tag, record["commit"], seed, threads)
    if options.fixed:
        needed = commits.requirements(repository, record["commit"])
        different = run_record.different_versions(record.get("versions", {}), needed, exact=options.exact)
        new |= run_record.expected(original, different, exact=options.exact)
    command = ["rerun", str(reference), *(["-f"] if options.fixed else [])]
    git_tag = repository.tag(reference.tag)
    least = (git_tag and tags.trailer_number(git_tag, tags.SEEDS_TRAILER)) or 1  # the ids before may be a search's
    with Signals() as signals:
        live = lifecycle.create(project, new, command, repository=repository, signals=signals, least=least)
        return lifecycle.train_and_report(project, live, signals, config)


def _parser() -> Parser:
    parser = Parser("rerun", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the tag or run to train again")
    parser.add_argument("-f", dest="fixed", action="store_true", help="use the recorded seed and threads")
    parser.add_argument("--exact", action="store_true", help="with -f: refuse if bits may differ")
    return parser


def _of_tag(repository: Repository, project: paths.Project, original: paths.Run, *, fixed: bool) -> run_record.Record:
    """Return the record of run 0 from the tag's message; all versions come from run 0 itself, if it is here.

    Raises:
        Refused: there is no such tag, or -f and it has no seed.
    """
    tag = select.git_tag(repository, project, original.tag)
    seed = tags.trailer_number(tag, "Exper-Seed")
    if fixed and seed is None:
        raise Refused(f"the tag {tag.name!r} records no seed: `run` did not make it. Name a run: {tag.name}/0")
    recorded = tags.trailers(tag)
    versions = {"python": recorded.get("Exper-Python", ""), "torch": recorded.get("Exper-Torch", "")}
    if fixed and original.record.exists():
        versions = run_record.read(original).get("versions", {})
    threads = tags.trailer_number(tag, "Exper-Threads")
    return {"commit": tag.commit, "seed": seed, "threads": threads, "versions": versions}
