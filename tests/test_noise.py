"""What the host packages say in vain."""
import os
import subprocess
import sys

from toy import ROOT

SCRIPT = """
import warnings
warnings.filterwarnings("error", "one's own")
before = list(warnings.filters)
import claver_mm
from claver_mm import noise
from mmengine.config import Config
Config.fromfile("configs/claver_motion.py")
places = [warnings.filters.index(entry) for entry in before]
assert places == sorted(places), "the order of the user's filters"
ours = [number for number, entry in enumerate(warnings.filters)
        if entry[1] and any(entry[1].match(words) for words, *_ in noise.HOST_WARNINGS)]
assert len(ours) == len(noise.HOST_WARNINGS) and min(ours) > max(places), "ours stand behind them"
warnings.warn("pkg_resources is deprecated as an API; said by someone else")
"""


def test_importing_the_package_and_reading_a_config_says_nothing():
    """Three warnings came before every answer; a user's filters, and the same words from elsewhere, stay."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True,
                          env=dict(environment, PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr.splitlines() == [
        "<string>:14: UserWarning: pkg_resources is deprecated as an API; said by someone else"]
