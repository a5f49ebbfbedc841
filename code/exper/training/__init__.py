"""What main.py imports: everything of a run that is not the experiment itself, one small file a concern."""
