#!/usr/bin/env python
"""``claver analyze``."""
from door import enter

if __name__ == "__main__":
    enter("analyze")
