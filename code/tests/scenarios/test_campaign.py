"""A short campaign of kills on real training, through the real command line; campaign.py runs long ones."""

import random
from pathlib import Path

from tests.support import campaign


def test_killed_runs_end_with_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"python code/tests/support/campaign.py --kills 8 --seed {seed}")
    assert campaign.campaign(tmp_path, 8, random.Random(seed))
