"""Programs that run beside training: one draws its curves, another sends its numbers to loggers."""
