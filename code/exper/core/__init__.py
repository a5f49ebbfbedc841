"""What every part of Exper may import: files, locks, paths, signals, the terminal. Imports no torch."""
