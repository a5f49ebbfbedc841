"""The page of `exper report`: what is gathered of the runs, and how it becomes one HTML file."""
