"""A search: what it varies, its trials, and what they found."""
