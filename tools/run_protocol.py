#!/usr/bin/env python
"""``claver protocol``."""
from door import enter

if __name__ == "__main__":
    enter("protocol")
