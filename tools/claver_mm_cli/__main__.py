"""``python -m claver_mm_cli`` is ``claver``."""
from . import entry

entry()
