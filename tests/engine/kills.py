"""Kill small runs at random, resume them, and compare with one that was not: python tests/engine/kills.py [KILLS]"""
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
import torch  # noqa: E402
from stopped import assert_same, count_events, killed_at, small_run  # noqa: E402
from toy import leave_configs_unformatted  # noqa: E402

import claver_mm  # noqa: E402, F401
from claver_mm.video.motion_files import make_motion_videos  # noqa: E402


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()
                  if path.is_file() and not path.name.startswith(("run_", "val_")))


def main(kills: int) -> None:
    torch.set_num_threads(1)
    leave_configs_unformatted()
    root = Path(tempfile.mkdtemp(prefix="kills_"))
    make_motion_videos(root / "data", num_train=20, num_val=16, seed=0, workers=1, progress=False)
    whole = root / "whole"
    events = count_events(root / "data", whole)
    same = 0
    for number in random.Random(0).sample(range(1, events + 1), kills):
        folder = root / str(number)
        killed_at(number, root / "data", folder)
        left = names(folder)
        small_run(root / "data", folder, resume="auto").train()
        try:
            assert_same(whole / "epoch_3.pth", folder / "epoch_3.pth")
            assert names(folder) == names(whole), names(folder)
            same, outcome = same + 1, "the same"
        except AssertionError as error:
            outcome = f"DIFFERS: {error}"
        print(f"killed at event {number} of {events}, left {left}: {outcome}", flush=True)
        shutil.rmtree(folder)
    print(f"{same} of {kills} killed runs end as one that was not killed")
    shutil.rmtree(root)


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["20"])[0]))
