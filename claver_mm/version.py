"""The version of the package. Pure: imports nothing."""
__version__ = "0.3.0"
