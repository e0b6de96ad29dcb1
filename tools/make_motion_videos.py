"""Write the motion videos: small clips in reversal pairs, which only the order of their frames tells apart.

    python tools/make_motion_videos.py data/motion

writes `train/*.mp4`, `val/*.mp4`, the annotation lists `train.txt` and `val.txt` of MMAction2's
`VideoDataset` (paths relative to the folder), `classes.txt` and `motion.json` (the settings). A second call
does nothing; after an interruption it goes on where the first one stopped.
"""

import argparse
import sys
from pathlib import Path

import claver_mm  # noqa: F401  (before anything of the host)
from claver_mm.datasets.motion import MOTION_CLASSES
from claver_mm.datasets.motion_files import make_motion_videos


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("root", type=Path, help="folder to write to")
    add("--num-train", type=int, default=2000, help="clips for training, all classes together")
    add("--num-val", type=int, default=400, help="clips for validation, all classes together")
    add("--seed", type=int, default=0, help="other seed, other clips")
    add("--size", type=int, nargs=2, default=(32, 40), metavar=("H", "W"), help="pixels of a frame")
    add("--num-frames", type=int, default=16, help="frames of a clip")
    add("--classes", nargs="+", default=MOTION_CLASSES, metavar="CLASS", help="names in quotes, whole pairs")
    add("--workers", type=int, default=2, help="clips written at the same time")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    try:
        make_motion_videos(**vars(arguments), progress=True)
    except (ValueError, OSError) as error:
        sys.exit(f"make_motion_videos: {error}")
    except KeyboardInterrupt:
        sys.exit("make_motion_videos: interrupted; the same command goes on from here")
    print(f"motion videos are complete in {arguments.root}")


if __name__ == "__main__":
    main()
