"""What `exper verify` stands on: a folder to train in, the comparison, and the likely causes of a difference."""
