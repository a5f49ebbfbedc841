"""Pictures and pages of runs: plots, TensorBoard, the report."""
