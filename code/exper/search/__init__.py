"""A search: its space, its trials (each a tagged commit), and their results."""
