#!/usr/bin/env python
"""``claver convert``."""
from door import enter

if __name__ == "__main__":
    enter("convert")
