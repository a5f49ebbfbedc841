"""Read data sets: splits, batches, files, downloads."""
