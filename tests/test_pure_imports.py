"""The pure parts serve people who have no MMEngine."""
import subprocess
import sys

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('mmengine', 'mmcv', 'mmaction', 'mmpretrain'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocked())
import claver_mm.attention, claver_mm.clip, claver_mm.language, claver_mm.streaming, claver_mm.temporal
import claver_mm.explain.relevance, claver_mm.explain.deletion, claver_mm.explain.film, claver_mm.explain.page
import claver_mm.weights
import claver_mm.protocols, claver_mm.protocols.views
import claver_mm.randomness, claver_mm.costs
print(sorted(name for name in sys.modules if name.startswith('mm') and name != 'mmap'))
"""


def test_pure_parts_import_nothing_of_mm():
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", BLOCK], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
