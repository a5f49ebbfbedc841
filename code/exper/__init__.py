"""Exper, an experiment manager: a git tag for each experiment, a folder of plain files for each run."""
