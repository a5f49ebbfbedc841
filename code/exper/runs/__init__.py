"""The life of a run: tag, record, status, supervision, resuming, removal."""
