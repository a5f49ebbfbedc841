"""The experiment manager: git tags, snapshots, the life of a run, its files."""
