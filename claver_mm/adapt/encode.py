"""Clips through the frozen image tower, once each: what is kept is what the temporal part and the texts learn from."""
from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..inputs import as_input, opened
from ..messages import quoted
from ..model import CLAVER
from ..protocols.views import behind_decoding
from ..randomness import drawing_from, mixed_seed
from ..recognizer import Recognizer
from ..towers.architectures import model_config
from ..towers.head import class_tokens_suffice
from ..video.shards import UnreadableVideo
from ..weights.difference import sha256_of
from .look import Videos, digest_of
from .store import TokenStore, sized

FORMAT = 1
"""Counts up when tokens of one and the same recipe come out otherwise."""
AREA = (0.6, 1.0)
"""Share of a frame that an augmented view shows."""


@dataclass(frozen=True)
class Sight:
    """What of a clip is kept."""

    tokens: str = "all"
    """``all`` tokens of a frame; a grid of fewer, in which they are averaged (``grid7``); its ``class`` token alone; or
    ``pixels``, for an image tower that is trained as well, which then sees them in every epoch."""
    views: int = 1
    """The clip as it is tested, and so many less one augmented: other frames of each segment, and a part of the
    picture."""

    def __post_init__(self) -> None:
        if self.tokens not in ("all", "class", "pixels") and not re.fullmatch(r"grid[1-9]\d?", self.tokens):
            raise ValueError(f"tokens are all, class, or a grid of so many a side (grid7), not {quoted(self.tokens)}")
        if self.views < 1:
            raise ValueError(f"views must be at least 1, got {self.views}")

    @property
    def token_grid(self) -> int | None:
        """Side of the grid of fewer tokens; None where there is none."""
        return int(self.tokens.removeprefix("grid")) if self.tokens.startswith("grid") else None


class ClipFrames(Dataset):
    """Frames of clips as a pipeline gives them; or what was wrong with the video, as the error."""

    def __init__(self, steps: list[Compose], videos: Videos, wanted: Sequence[tuple[int, int]]) -> None:
        self.steps, self.videos, self.wanted = steps, videos, wanted

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, number: int) -> tuple[int, dict | Exception]:
        place, view = self.wanted[number]
        return number, frames_of(self.steps[view], self.videos, place, view)


def frames_of(steps: Compose, videos: Videos, place: int, view: int) -> dict | Exception:
    """One view of a clip, the same whoever asks."""
    clip = videos.clips[place]
    entry = dict(as_input(clip.path, steps), start=clip.start, end=clip.end)
    try:
        with drawing_from(mixed_seed(int(videos.digests[place][:15], 16), view)):
            frames = opened(steps, entry)[0]
        if digest_of(clip.path) != videos.digests[place]:  # else the tokens were kept as those of what it was
            raise UnreadableVideo(f"{clip.path} has changed since it was looked at; call this again")
        return frames
    except (UnreadableVideo, OSError) as error:
        return error


def view_steps(recognizer: Recognizer, views: int) -> list[list[dict]]:
    """The steps of each view of a clip, as plain data: that of the recogniser's validation, then augmented ones."""
    tested, augmented = recognizer.steps("one"), recognizer.steps("one")
    for step in augmented:
        if "clip_len" in step:
            step.update(test_mode=False, num_clips=1)
    augmented.insert(behind_decoding(tested), dict(type="RandomZoom", area=AREA))
    return [tested, *[augmented] * (views - 1)]


def composed(steps: list[list[dict]]) -> list[Compose]:
    """Pipelines of ``view_steps``; the augmented views share one."""
    with DefaultScope.overwrite_default_scope("mmaction"):
        first = Compose(copy.deepcopy(steps[0]))
        return [first, *[Compose(copy.deepcopy(steps[1]))] * (len(steps) - 1)] if len(steps) > 1 else [first]


class Encoded:
    """Tokens of the clips of some videos, out of a store, encoded where it has none.

    Args:
        recognizer: Whose image tower is frozen.
        videos: What is encoded.
        sight: What of a clip is kept.
        root: Folder of the store.
        max_bytes: See ``TokenStore``.

    Attributes:
        failed: Place of each clip that could not be read -> why.
    """

    def __init__(self, recognizer: Recognizer, videos: Videos, sight: Sight, root: str | Path,
                 max_bytes: int | None = None) -> None:
        claver = recognizer.claver
        if sight.tokens == "class":
            _check_class_tokens(claver)
        self.videos, self.sight, self.failed = videos, sight, {}
        self._recognizer = recognizer
        steps = view_steps(recognizer, sight.views)
        self._steps = composed(steps)
        normalisation = recognizer.model.data_preprocessor
        self.recipe = dict(
            format=FORMAT, tower=sha256_of(claver.visual.state_dict()), image_size=list(claver.preprocessing.size),
            mean=normalisation.mean.flatten().tolist(), std=normalisation.std.flatten().tolist(), steps=steps[:2],
            tokens=sight.tokens, token_grid=claver.token_grid, dtype="float16",
            config={key: value for key, value in model_config(claver.arch).items() if key != "text_cfg"})
        if sight.tokens == "pixels":  # are those of any tower that sees frames so
            self.recipe |= dict(tower=None, config=None, token_grid=None, mean=None, std=None, dtype="uint8")
        self.store = TokenStore(root, self.recipe, max_bytes)
        self.keys = [[self.store.key(digest, clip.start, clip.end, view) for view in range(sight.views)]
                     for clip, digest in zip(videos.clips, videos.digests)]

    def encode(self, *, batch_size: int = 8, workers: int = 1, progress: bool = False) -> None:
        """Encode what the store has not.

        Raises:
            ValueError, OSError: There is no room for it.
        """
        wanted = self._wanted()
        self.store.touch(key for keys in self.keys for key in keys)
        if not wanted:
            return
        self.store.make_room(len(wanted), self.bytes_of_one(), (key for keys in self.keys for key in keys))
        bar = tqdm(total=len(wanted), desc=f"encoding ({sized(len(wanted) * self.bytes_of_one())})", unit="clip",
                   leave=False, disable=not progress)
        for places, tokens in self._encoded(wanted, batch_size, workers, bar):
            for (place, view), one in zip(places, tokens):
                self.store.put(self.keys[place][view], one)
        bar.close()

    def missing(self) -> int:
        """Views of clips that are yet to be encoded."""
        return len(self._wanted())

    def seconds_of_one(self) -> float:
        """How long a clip takes here, tried on the second that is missing; the first warms up."""
        seconds = 0.0
        for wanted in self._wanted()[:2]:
            began = time.monotonic()
            for (place,), tokens in self._encoded([wanted], 1, 0):
                self.store.put(self.keys[place[0]][place[1]], tokens[0])
            seconds = time.monotonic() - began
        return seconds

    def _wanted(self) -> list[tuple[int, int]]:
        return [(place, view) for place, keys in enumerate(self.keys) for view, key in enumerate(keys)
                if key not in self.store]

    def bytes_of_all(self) -> int:
        """Bytes of what is kept of all clips."""
        return self.bytes_of_one() * sum(map(len, self.keys))

    def bytes_of_one(self) -> int:
        """Bytes of what is kept of a clip: ``T * L * D`` numbers of two bytes, or ``T * 3 * h * w`` of one."""
        tower = self._recognizer.claver.clip.tower
        size = self._recognizer.claver.preprocessing.size
        grid = [own * now // was for own, now, was in zip(tower.grid, size, tower.image_size)]
        frames = next(step["clip_len"] for step in self.recipe["steps"][0] if "clip_len" in step)
        if self.sight.tokens == "pixels":
            return frames * 3 * size[0] * size[1]
        count = 1 if self.sight.tokens == "class" else tower.num_prefix + grid[0] * grid[1]
        side = self._recognizer.claver.token_grid
        return 2 * frames * (count if side is None or count == 1 else tower.num_prefix + side * side) * tower.width

    def tokens(self, places: Sequence[int], view: int = 0) -> Tensor:
        """Tokens of clips, float32 ``(B, T, L, D)`` on the recogniser's device; a clip whose file has gone is encoded
        anew."""
        found = []
        for place in places:
            one = self.store.get(self.keys[place][view])
            if one is None:
                anew = [tokens[0] for _, tokens in self._encoded([(place, view)], 1, 0)]
                if not anew:
                    raise OSError(f"what was kept of a clip has gone, and it cannot be encoded anew: "
                                  f"{self.failed[place]}")
                one, = anew
                self.store.put(self.keys[place][view], one)
            found.append(one)
        kept = torch.stack(found).to(self._recognizer.claver.device)
        if self.sight.tokens == "pixels":
            model = self._recognizer.model
            return self._recognizer.claver.image_tokens(
                model.data_preprocessor(dict(inputs=list(kept), data_samples=None), False)["inputs"][:, 0])
        return kept.float()

    def _encoded(self, wanted: list[tuple[int, int]], batch_size: int, workers: int,
                 bar: tqdm | None = None) -> Iterator[tuple[list[tuple[int, int]], Tensor]]:
        """Places with views, and their tokens in half precision on the CPU, batch by batch; what cannot be read goes
        into ``failed``."""
        loader = DataLoader(ClipFrames(self._steps, self.videos, wanted), batch_size, num_workers=workers,
                            collate_fn=list)
        for batch in loader:
            read = []
            for number, frames in batch:
                if isinstance(frames, Exception):
                    self.failed[wanted[number][0]] = str(frames)
                else:
                    read.append((wanted[number], frames))
            if read:
                kept = (torch.stack([frames["inputs"][:1] for _, frames in read]) if self.sight.tokens == "pixels"
                        else self._through_tower([frames for _, frames in read]))
                yield [place for place, _ in read], kept
            if bar is not None:
                bar.update(len(batch))

    @torch.inference_mode()
    def _through_tower(self, frames: list[dict]) -> Tensor:
        recognizer = self._recognizer
        with recognizer._asked:
            clips = recognizer.model.data_preprocessor(pseudo_collate(frames), False)["inputs"][:, 0]
            tokens = recognizer.claver.image_tokens(clips)
        tokens = (tokens[:, :, :1] if self.sight.tokens == "class" else tokens).half().cpu()
        if not tokens.isfinite().all():
            raise ValueError("the image tower gives numbers that half precision cannot hold; its weights are damaged, "
                             "or it is no tower for cached tokens")
        return tokens


def _check_class_tokens(claver: CLAVER) -> None:
    """``ValueError`` where more is read of a frame than its class token."""
    tower, temporal = claver.clip.tower, claver.temporal
    if not class_tokens_suffice(tower, claver.pool):
        why = f"pools by {tower.pooling}" if tower.pooling != "class_token" else f"reads the {claver.pool} of all"
        raise ValueError(f"this tower has no class token that stands for a frame (it {why}); keep all tokens")
    if temporal is not None and temporal.pattern != "class_token":
        raise ValueError(f"the temporal part ({temporal.pattern}) reads all tokens of a frame, class tokens alone are "
                         "to be kept; keep all tokens, or leave the pattern out")
