#!/usr/bin/env python
"""``claver recognize``."""
from door import enter

if __name__ == "__main__":
    enter("recognize")
