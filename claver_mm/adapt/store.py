"""Tokens of clips on disk, each encoded once: found by content, written whole, shared by runs, bounded.

Pure: imports nothing of ``mm*``.
"""
from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..files import write_text, written_whole

STATE = ".pt"
"""Of the state of a training, kept beside tokens until it ends."""
ABANDONED = 24 * 3600
"""Seconds after which a file that was never finished is of no run that still goes on."""


def default_folder() -> Path:
    """``$CLAVER_CACHE``, or ``claver_mm/tokens`` where the system keeps caches."""
    given = os.environ.get("CLAVER_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(given or Path(caches, "claver_mm", "tokens")).expanduser()


class TokenStore:
    """A folder with a file of tokens for each clip that was encoded by one recipe.

    The recipe is everything that tokens depend on beside the video: tower, weights, sampling, preprocessing, precision.
    A change of any of it, or of a byte of a video, is another key, so that nothing found here is stale. Files are
    written under a name of their own and renamed, so that runs may share a folder, and one that is killed leaves what
    it had finished.

    Args:
        root: The folder of all recipes.
        recipe: Plain data.
        max_bytes: Of all recipes together; what was not used for longest goes first, and never what this run needs.

    Raises:
        OSError: The folder cannot be written to.
    """

    def __init__(self, root: str | Path, recipe: Mapping, max_bytes: int | None = None) -> None:
        content = json.dumps(recipe, sort_keys=True, indent=1)
        self.root, self.max_bytes = Path(root).expanduser(), max_bytes
        self.folder = self.root / hashlib.sha256(content.encode()).hexdigest()[:32]
        if not (self.folder / "recipe.json").is_file():
            write_text(self.folder / "recipe.json", content + "\n")

    def key(self, digest: str, first: float | None, last: float | None, view: int) -> str:
        """Name of a clip's file.

        Args:
            digest: SHA-256 of the video.
            first, last: Seconds between which the clip lies.
            view: 0 for the clip as it is tested, other numbers for augmented views of it.
        """
        return hashlib.sha256(json.dumps([digest, first, last, view]).encode()).hexdigest()[:40]

    def __contains__(self, key: str) -> bool:
        return self._path(key).is_file()

    def get(self, key: str) -> Tensor | None:
        """Tokens of a clip, memory-mapped; None where there are none, or a damaged file, which is said."""
        path = self._path(key)
        try:
            with safe_open(path, "pt") as file:
                return file.get_tensor("tokens")
        except FileNotFoundError:
            return None
        except SafetensorError as error:
            warnings.warn(f"{path} is damaged ({error}); the clip is encoded anew")
            return None

    def put(self, key: str, tokens: Tensor) -> None:
        """Keep tokens of a clip.

        Raises:
            OSError: They cannot be written, for want of space say; the folder is named.
        """
        try:
            with written_whole(self._path(key)) as file:
                file.write(save(dict(tokens=tokens.contiguous())))
        except OSError as error:
            raise type(error)(error.errno, f"{error.strerror or error}. What is encoded stays and is found again; "
                              "make room there, name another folder (--cache), or keep fewer tokens (--tokens)"
                              ) from error

    def touch(self, keys: Iterable[str]) -> None:
        """Note that clips were used now.

        Raises:
            OSError: It cannot be noted, in a folder that cannot be written to.
        """
        for key in keys:
            try:
                os.utime(self._path(key))
            except FileNotFoundError:  # another run has made room; it is encoded again when it is needed
                continue
            except OSError as error:  # which names no file
                raise type(error)(error.errno, f"{self._path(key)} cannot be written to ({error.strerror}), and a run "
                                  "notes there what it uses; name another folder (--cache)") from error

    def make_room(self, count: int, nbytes: int, needed: Iterable[str]) -> None:
        """See that so many clips more will find room.

        Args:
            count: Clips that are to be encoded.
            nbytes: Of one.
            needed: Keys of all clips of this run, which stay.

        Raises:
            ValueError: They would take more than the folder may hold.
            OSError: They would take more than the disk has left.
        """
        wanted, mine = count * nbytes, {self._path(key) for key in needed}
        if self.max_bytes is not None:
            files = [(stat.st_mtime, stat.st_size, path) for path, stat in _files(self.root)]
            own = sum(size for _, size, path in files if path in mine)
            if own + wanted > self.max_bytes:
                raise ValueError(f"the tokens of this run take {sized(own + wanted)}, more than the cache may hold "
                                 f"({sized(self.max_bytes)}); raise --cache-gb, or keep fewer tokens (--tokens)")
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total + wanted <= self.max_bytes:
                    break
                if path not in mine:
                    path.unlink(missing_ok=True)
                    total -= size
        free = shutil.disk_usage(self.folder).free
        if wanted > free:
            raise OSError(f"the tokens of {count} clips take {sized(wanted)}, and {self.folder} has "
                          f"{sized(free)} left; make room, name another folder (--cache), or keep fewer tokens "
                          "(--tokens)")

    def size(self) -> tuple[int, int]:
        """Files and bytes of all recipes; what killed runs left unfinished is removed."""
        files = list(_files(self.root))
        for path, stat in files:
            if path.suffix == ".unfinished" and time.time() - stat.st_mtime > ABANDONED:
                path.unlink(missing_ok=True)
        kept = [stat.st_size for path, stat in files if path.suffix == ".safetensors"]
        return len(kept), sum(kept)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _files(folder: Path) -> Iterable[tuple[Path, os.stat_result]]:
    for root, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".safetensors", ".unfinished", STATE)):
                path = Path(root, name)
                try:
                    yield path, path.stat()
                except FileNotFoundError:  # of another run, which has finished or made room
                    continue


def sized(nbytes: float) -> str:
    """``1.5 GB``."""
    power = min(4, max(0, int(math.log(nbytes, 1000)))) if nbytes >= 1 else 0
    return f"{nbytes / 1000 ** power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
