"""The page of `exper report`: the content of the runs, and the one HTML file that shows it."""
