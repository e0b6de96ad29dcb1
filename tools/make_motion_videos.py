#!/usr/bin/env python
"""``claver motion-videos``."""
from door import enter

if __name__ == "__main__":
    enter("motion-videos")
