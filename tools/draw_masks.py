#!/usr/bin/env python
"""``claver masks``."""
from door import enter

if __name__ == "__main__":
    enter("masks")
