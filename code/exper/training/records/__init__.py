"""Write the numbers of a run: history.jsonl, statistic.json, TensorBoard's event files, hardware.jsonl."""
