"""A recogniser as one folder that another person loads in one line; see ``docs/saved.md``."""
