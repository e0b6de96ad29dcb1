#!/usr/bin/env python
"""``claver train``."""
from door import enter

if __name__ == "__main__":
    enter("train")
