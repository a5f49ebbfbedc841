"""Start a command, for the job scripts of earlier versions; `python -I code/exper` does the same."""

import os
import runpy

if __name__ == "__main__":
    runpy.run_path(os.path.dirname(os.path.abspath(__file__)), run_name="__main__")
