"""The helper of tests/engine that runs functions in several processes serves here too."""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "engine"))
