"""A search: what it varies, its trials, each a tagged commit, and what they found."""
