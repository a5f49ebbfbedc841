"""Pictures of runs, drawn from their files."""

import json
from pathlib import Path

from exper.core import paths
from exper.views import plotting


def test_the_picture_of_a_run_has_a_panel_more_unless_that_file_is_damaged(tmp_path: Path) -> None:
    run = paths.Run(tmp_path / "base" / "0")
    run.folder.mkdir(parents=True)
    run.history.write_text('{"epoch": 1, "val/loss": 1.0}\n{"epoch": 2, "val/loss": 0.5}\n')
    without = plotting.of_run(run)
    run.hardware.write_text("x\n")
    assert plotting.of_run(run) == without
    lines = [{"time": seconds, "step": 1, "machine/cpu_percent": 50.0} for seconds in (0.0, 60.0)]
    run.hardware.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert plotting.of_run(run) != without
    assert [panel.title for panel in plotting.panels(["val/loss", "hardware, % CPU", "step/loss", "lr"])] == [
        *("val/loss", "lr", "step/loss"),
        "hardware, %",
    ]
