"""Columns, metrics and tables, read from the files of runs."""
