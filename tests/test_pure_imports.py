"""The pure parts serve people who have no MMEngine."""
import re
import subprocess
import sys

from toy import ROOT

BLOCK = """
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('mmengine', 'mmcv', 'mmaction', 'mmpretrain'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocked())
for name in sys.argv[1:]:
    importlib.import_module(name)
print(sorted(name for name in sys.modules if name.startswith('mm') and name != 'mmap'))
"""


def pure_modules() -> list[str]:
    """Modules whose first docstring says that they are pure."""
    says_so = re.compile(r'\A"""(?:(?!""").)*?(?:\bPure: imports|nothing\s+of\s+`+mm\*)', re.DOTALL)
    files = [path for path in (ROOT / "claver_mm").rglob("*.py") if says_so.match(path.read_text(encoding="utf-8"))]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files)


def test_pure_parts_import_nothing_of_mm():
    """Modules were listed by hand, and five that said so did not import without MMEngine."""
    modules = pure_modules()
    assert {"claver_mm.attention", "claver_mm.video", "claver_mm.video.decode", "claver_mm.video.motion_files",
            "claver_mm.protocols.lists"} <= set(modules) and len(modules) > 30
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", BLOCK, *modules, "claver_mm.language"],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_modules_of_videos_keep_their_old_names():
    """Scripts of users import them from ``claver_mm.datasets``."""
    import claver_mm.datasets.decode
    from claver_mm.datasets.motion import MOTION_CLASSES
    from claver_mm.datasets.motion_files import make_motion_videos
    from claver_mm.datasets.shards import UnreadableVideo

    from claver_mm.video import decode, motion, motion_files, shards
    assert claver_mm.datasets.decode is decode and UnreadableVideo is shards.UnreadableVideo
    assert MOTION_CLASSES is motion.MOTION_CLASSES and make_motion_videos is motion_files.make_motion_videos
