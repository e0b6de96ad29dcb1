"""What tools of MMAction2's names share: each is a door to a sub-command of ``claver``, of this checkout."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import claver_mm_cli


def enter(command: str) -> None:
    """Run a sub-command with this process's arguments."""
    claver_mm_cli.entry([command, *sys.argv[1:]])
