#!/usr/bin/env python
"""``claver lists``."""
import sys

from claver_mm_cli import main

if __name__ == "__main__":
    sys.exit(main(["lists", *sys.argv[1:]]))
