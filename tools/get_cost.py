#!/usr/bin/env python
"""``claver cost``."""
from door import enter

if __name__ == "__main__":
    enter("cost")
