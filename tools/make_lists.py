#!/usr/bin/env python
"""``claver lists``."""
from door import enter

if __name__ == "__main__":
    enter("lists")
