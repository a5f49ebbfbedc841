"""Show the results of a search: a table of its trials, the best first, and pictures.

Files written: __statistic__/table/<tag>.csv and .md and, in __statistic__/plot/<tag>/, history_plots.png (the curves of
all trials), importance.png (the importance of each setting, as Optuna estimates it) and parallel_coordinate.png.

The table has the settings that the search varies; a title (see `title -h`) of the search's name chooses others. With
several seeds a row has the mean of a trial's runs. Trials that have not finished stand below. `exper search` ends with
the same table and pictures.

Examples:
    exper results wide
    exper results wide --json                              raw values to stdout; no file is written
    exper results wide --storage postgresql://host/name    with the trials of other machines
"""

from exper.core.arguments import Parser
from exper.core.messages import warn
from exper.core.paths import Project
from exper.statistic import summary


def results(arguments: list[str], project: Project) -> int:
    """Read the runs and the study; write and show the results."""
    parser = Parser("exper results", __doc__)
    parser.add_argument("tag", help="the tag of the search")
    parser.add_argument("--storage", metavar="URL", help="the database of the search, as Optuna names it")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead")
    options = parser.parse_args(arguments)
    from exper.search import results as search_results  # with Optuna, which takes a quarter of a second to import
    from exper.search import results_table

    search = results_table.load(project, options.tag, options.storage)
    if not options.json:
        return int(warn("results", search_results.write(search, "results")))
    content = results_table.read(search)
    print(summary.as_json(content.objects()))
    return int(warn("results", content.problems))
