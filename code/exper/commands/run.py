"""Tag the committed code and train it from a read-only copy of that tag.

The run's files are in __result__/<tag>/0/. The working tree, the index, HEAD and the branches stay as they are.

Examples:
    run baseline                           a fresh seed
    run baseline -f                        the seed in code/seed
    run small model.dropout=0.5 epochs=3   change settings in the tagged config.py
    run try -m "wider kernels"             save uncommitted changes in a commit that only the tag holds
"""

from exper.core.arguments import Parser
from exper.core.paths import Project
from exper.runs import create, lifecycle, tags


def run(arguments: list[str], project: Project) -> int:
    """Tag, then train; reuse an existing tag if it holds the same code and has no run."""
    options = _parser().parse_intermixed_args(arguments)
    with create.first_run(project, options, create.recorded_command("run", options)) as (live, config, signals):
        return lifecycle.train_and_report(project, live, signals, config)


def _parser() -> Parser:
    parser = Parser("run", __doc__)
    parser.add_argument("tag", help="the name of the experiment, a new git tag")
    tags.add_arguments(parser)
    return parser
