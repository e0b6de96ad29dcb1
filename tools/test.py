#!/usr/bin/env python
"""``claver test``."""
from door import enter

if __name__ == "__main__":
    enter("test")
