"""A config of MMAction2 with which everything of a recogniser is trained further, on the same videos."""
from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from ..files import write_text
from ..messages import quoted
from ..saved.settings import config_text, saved_settings
from .adapter import Adapted


def write_finetuning(folder: str | Path, adapted: Adapted, path: str | Path) -> None:
    """Write a config, and beside it the clips as a list, ``NAME.csv``.

    Args:
        folder: Of the saved recogniser, whose weights training starts from.
        adapted: Whose videos are trained on; those that were held out validate.
        path: The config, ``NAME.py``.

    Raises:
        FileExistsError, ValueError: As of ``check_finetuning``; or a name of a video that is no text in UTF-8.
        OSError: It cannot be written.
    """
    path = check_finetuning(path)
    odd = [clip.path for clip in adapted.videos.clips if not _is_text(clip.path)]
    if odd:
        raise ValueError(f"the name of {quoted(odd[0])} is no text in UTF-8, and cannot stand in a list; rename the "
                         "file")
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
    write_text(path.with_suffix(".csv"), rows.getvalue())
    write_text(path, config_text(settings, Path(folder).name, f"The clips are those of {listed.name}, beside it: "
                                 "what its column split calls train and val."))


def check_finetuning(path: str | Path) -> Path:
    """The path of a config to write, where neither it nor its list is there.

    Raises:
        FileExistsError: One is.
        ValueError: No ``.py`` file.
    """
    path = Path(path)
    if path.suffix != ".py":
        raise ValueError(f"{path} is to be a config, which ends in .py")
    for each in (path, path.with_suffix(".csv")):
        if each.exists():
            raise FileExistsError(f"{each} is there already; name another file")
    return path


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

