"""Find and remove files that are no longer needed; copy the project template."""
