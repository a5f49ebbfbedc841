"""The search: trials, each a tagged commit, that start warm."""
