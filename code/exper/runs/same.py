"""Is this the machine that a recorded run was made on? What differs is said aloud; `--exact` refuses it.

Versions are compared here, where they are recorded; device and data by training, which records those.
"""

import json

from exper.core import host_info, paths, statistic_file
from exper.core.errors import Refused
from exper.runs import run_record

PARTS = ("device", "data", "pretrained", "outside_code")  # of statistic.json, on which numbers may depend


def expect(run: paths.Run, *, exact: bool) -> run_record.Record:
    """Return what training has to compare itself with: parts of the recorded run's statistic.json."""
    try:
        statistic = statistic_file.read(run)
    except Refused:
        statistic = None
    recorded = statistic and {key: statistic.content[key] for key in PARTS if key in statistic.content}
    return {"recorded": recorded, "exact": exact}


def check_versions(recorded: dict[str, str], required: set[str], *, exact: bool) -> list[str]:
    """Return a line for each package that is not as recorded, of those that the code requires, and Python.

    Raises:
        Refused: something differs, and `exact` is wanted.
    """
    now = host_info.versions()
    wanted = {"python", *(required or recorded)} & set(recorded)
    different = [
        f"{name} {recorded[name]} -> {now.get(name, 'missing')}"
        for name in sorted(wanted)
        if recorded[name] != now.get(name)
    ]
    if different and exact:
        raise Refused(f"versions differ from the recorded run: {', '.join(different)}. Install those, or omit --exact.")
    return different


def is_same(one: object, other: object) -> bool:
    """Tell whether two recorded values are the same to the last digit; NaN is NaN."""
    return json.dumps(one, sort_keys=True, default=repr) == json.dumps(other, sort_keys=True, default=repr)
