#!/usr/bin/env python
"""``claver explain``."""
from door import enter

if __name__ == "__main__":
    enter("explain")
