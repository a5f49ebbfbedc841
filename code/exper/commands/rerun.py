"""Train the code of a tag or run again, as a new run of that tag; `-f` gives the same numbers again.

Examples:
    rerun baseline                     a fresh seed: one more sample
    rerun baseline/2 -f                the seed of that run
    rerun baseline -f                  the seed of the tag; also on a clone that only fetched the tag
"""

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import commits, lifecycle, run_record, select, tags


def rerun(arguments: list[str], project: paths.Project) -> int:
    """Take commit, and with -f seed and threads, from the run or the tag; train a new run."""
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
    seed, threads = run_record.fresh_seed(), run_record.thread_count(config)
    if options.fixed:
        seed, threads = record["seed"], record.get("threads") or threads
    new = run_record.new(reference.tag, record["commit"], seed, threads)
    if options.fixed:
        needed = commits.requirements(repository, record["commit"])
        different = run_record.different_versions(record.get("versions", {}), needed, exact=options.exact)
        new |= run_record.expected(original, different, exact=options.exact)
    command = ["rerun", str(reference), *(["-f"] if options.fixed else [])]
    made = repository.tag(reference.tag)
    least = (made and tags.trailer_number(made, tags.SEEDS_TRAILER)) or 1  # a search may yet begin those before
    with Signals() as signals:
        live = lifecycle.create(project, new, command, repository=repository, signals=signals, least=least)
        return lifecycle.train_and_report(project, live, signals, config)


def _parser() -> Parser:
    parser = Parser("rerun", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the tag or run whose code is trained again")
    parser.add_argument("-f", dest="fixed", action="store_true", help="with the recorded seed and threads")
    parser.add_argument("--exact", action="store_true", help="with -f: refuse if bits may differ")
    return parser


def _of_tag(repository: Repository, project: paths.Project, original: paths.Run, *, fixed: bool) -> run_record.Record:
    """Return what the tag's message records of run 0; of its versions, run 0 itself knows more where it is here.

    Raises:
        Refused: there is no such tag, or -f and it has no seed.
    """
    known = select.git_tag(repository, project, original.tag)
    seed = tags.trailer_number(known, "Exper-Seed")
    if fixed and seed is None:
        raise Refused(f"the tag {known.name!r} records no seed: `run` did not make it. Name a run: {known.name}/0")
    said = tags.trailers(known)
    versions = {"python": said.get("Exper-Python", ""), "torch": said.get("Exper-Torch", "")}
    if fixed and original.record.exists():
        versions = run_record.read(original).get("versions", {})
    threads = tags.trailer_number(known, "Exper-Threads")
    return {"commit": known.commit, "seed": seed, "threads": threads, "versions": versions}
