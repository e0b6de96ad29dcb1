#!/usr/bin/env python
"""``claver check-prompts``."""
from door import enter

if __name__ == "__main__":
    enter("check-prompts")
