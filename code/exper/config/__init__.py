"""The settings of an experiment: config.py as a syntax tree, and the loggers it can name."""
