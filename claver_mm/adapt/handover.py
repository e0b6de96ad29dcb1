"""A config of MMAction2 with which everything of a recogniser is trained further, on the same videos."""
from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from ..files import write_text
from ..saved.settings import config_text, saved_settings
from .adapter import Adapted


def write_finetuning(folder: str | Path, adapted: Adapted, path: str | Path) -> None:
    """Write a config, and beside it the clips as a list, ``NAME.csv``.

    Args:
        folder: Of the saved recogniser, whose weights training starts from.
        adapted: Whose videos are trained on; those that were held out validate.
        path: The config, ``NAME.py``, which must not be there.

    Raises:
        FileExistsError: It is there.
        OSError: It cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already; name another file")
    held_out, rows = set(adapted.held_out), io.StringIO(newline="")
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(("video", "label", "start", "end", "split"))
    for place, clip in enumerate(adapted.videos.clips):
        writer.writerow((os.path.abspath(clip.path), clip.label, clip.start, clip.end,
                         "val" if place in held_out else "train"))
    listed = path.with_suffix(".csv")
    settings = saved_settings(folder)
    del settings["data_root"]
    model = settings["model"]
    model["backbone"] |= dict(frozen=False)
    model["cls_head"] |= dict(frozen_text=False, frozen_visual=False)
    for split in ("train", "val", "test"):
        dataset = settings[f"{split}_dataloader"]["dataset"]
        dataset["ann_file"] = str(listed.resolve())
        del dataset["data_prefix"]
    write_text(listed, rows.getvalue())
    write_text(path, config_text(settings, Path(folder).name))
