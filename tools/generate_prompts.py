#!/usr/bin/env python
"""``claver generate-prompts``."""
from door import enter

if __name__ == "__main__":
    enter("generate-prompts")
