"""Programs that run beside training: they draw its curves and send its numbers to loggers."""
