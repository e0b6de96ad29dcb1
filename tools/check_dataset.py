#!/usr/bin/env python
"""``claver check-data``."""
from door import enter

if __name__ == "__main__":
    enter("check-data")
