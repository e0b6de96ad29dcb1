"""``python -m claver_mm_cli`` is ``claver``."""
import sys

from . import main

sys.exit(main())
