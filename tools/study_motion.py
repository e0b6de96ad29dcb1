#!/usr/bin/env python
"""Check explanations where the answer is known: on motion videos, with a small CLAVER trained on them.

Does relevance lie on the moving object? Does similarity fall more without relevant patches than without random ones?
Does the verb of "a red arrow rising" outweigh its noun?
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from tqdm import tqdm

from claver_mm import Recognizer
from claver_mm.clip import tokenize
from claver_mm.video.motion import MOTION_CLASSES, render_clip, render_coverage
from claver_mm.video.motion_files import make_motion_videos
from claver_mm.explain.deletion import deletion_drops
from claver_mm.explain.explanation import words_of
from claver_mm.explain.relevance import relevance

TOOLS = Path(__file__).resolve().parent
CONFIG = TOOLS.parent / "configs" / "claver_motion_explained.py"
MAPS = ("spatial", "temporal", "combined")
ROLES = ("article", "colour", "noun", "verb")
BATCH = 20


def train(work_dir: Path, videos: Path, seed: int) -> Path:
    """Train on 2,000 videos through tools/train.py; the checkpoint."""
    options = [f"{split}_dataloader.dataset.{key}" for split, lines in (("train", "train"), ("val", "val"),
                                                                        ("test", "val"))
               for key in (f"ann_file={videos / lines}.txt", f"data_prefix.video={videos}")]
    work_dir.mkdir(parents=True, exist_ok=True)
    print(f"training in {work_dir}: minutes; progress in {work_dir / 'train.log'}", flush=True)
    with (work_dir / "train.log").open("w") as log:
        done = subprocess.run([sys.executable, "-W", "ignore", str(TOOLS / "train.py"), str(CONFIG), "--work-dir",
                               str(work_dir), "--seed", str(seed), "--cfg-options", *options], stdout=log,
                              stderr=subprocess.STDOUT, env=dict(os.environ, OMP_NUM_THREADS="1"))
    if done.returncode:
        raise RuntimeError(f"training failed; {work_dir / 'train.log'} ends with the reason")
    return work_dir / "epoch_8.pth"


def load_clips(recognizer: Recognizer, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Normalised clips ``(N, 3, T, H, W)``, the object's share of each patch ``(N, T, h, w)``, and class names.

    The seeds are not those of any training or validation video.
    """
    h, w = recognizer.claver.visual.grid_size
    clips, shares, names = [], [], [MOTION_CLASSES[i % len(MOTION_CLASSES)] for i in range(count)]
    for number, name in enumerate(tqdm(names, "clips", leave=False)):
        clips.append(recognizer.view(render_clip(name, (seed, 7, number))).clip)
        cover = recognizer.view(render_coverage(name, (seed, 7, number))).frames[..., 0] / 255  # (T, H, W)
        T, H, W = cover.shape
        shares.append(torch.from_numpy(cover.reshape(T, h, H // h, w, W // w).mean(axis=(2, 4))))
    return torch.cat(clips), torch.stack(shares), names


def study_maps(recognizer: Recognizer, clips: torch.Tensor, covered: torch.Tensor, names: list[str],
               seed: int) -> dict:
    """Relevance on the object over that on the background, and the deletion test, for each kind of map."""
    model, arch = recognizer.claver, recognizer.claver.arch
    tokens = tokenize([f"a red arrow {name}" for name in names], arch)
    maps = {name: [] for name in MAPS}
    drops = {name: [] for name in MAPS}
    for first in tqdm(range(0, len(clips), BATCH), "relevance", leave=False):
        part = slice(first, first + BATCH)
        found = relevance(model, clips[part], tokens[part])
        for name in MAPS:
            maps[name].append(getattr(found, name).cpu())
            drops[name].append(deletion_drops(model, clips[part], tokens[part], getattr(found, name),
                                              generator=torch.Generator().manual_seed(seed + first)))
    results = {}
    for name in MAPS:
        relevances = torch.cat(maps[name])
        on, off = (_mean_where(relevances, where) for where in (covered >= 0.5, covered == 0))
        relevant, random = (torch.cat(part).cpu().numpy() for part in zip(*drops[name]))
        results[name] = dict(
            object_over_background=float(on.mean() / off.mean()), videos_with_more_on_object=float((on > off).mean()),
            drop_relevant=[float(relevant.mean()), float(relevant.std(ddof=1))],
            drop_random=[float(random.mean()), float(random.std(ddof=1))],
            videos_with_larger_drop=float((relevant > random).mean()))
    return results


def _mean_where(relevances: torch.Tensor, where: torch.Tensor) -> np.ndarray:
    """Mean over some patches of each video, ``(N,)``."""
    return ((relevances * where).flatten(1).sum(1) / where.flatten(1).sum(1).clamp(min=1)).numpy()


def study_words(recognizer: Recognizer, clips: torch.Tensor, names: list[str], seed: int) -> dict:
    """Shares of a text's relevance that its words have, by role: "a <colour> <shape> <verb>" of the right verb."""
    model, arch, templates = recognizer.claver, recognizer.claver.arch, recognizer.config.model.cls_head.templates
    chosen = [templates[i] for i in np.random.default_rng(seed).integers(len(templates), size=len(names))]
    tokens = tokenize([template.format(name) for template, name in zip(chosen, names)], arch)
    shares = []
    for first in tqdm(range(0, len(clips), BATCH), "words", leave=False):
        part = slice(first, first + BATCH)
        found = relevance(model, clips[part], tokens[part])
        for template, ids, values in zip(chosen[part], tokens[part], found.text):
            words = [value for _, value in words_of(ids, values, arch)]
            verb = len(template.split()) - 1
            roles = np.array([words[0], words[1], sum(words[2:verb]), sum(words[verb:])])
            shares.append(roles / (roles.sum() or 1))
    shares = np.array(shares)
    return dict(zip(ROLES, shares.mean(axis=0).tolist())) | dict(
        verb_over_noun=float((shares[:, 3] > shares[:, 2]).mean()))


def tables(maps: dict, words: dict, count: int) -> str:
    """Markdown of both studies."""
    lines = [f"{count} videos.", "", "| map | on the object, times the background | similarity lost without the most "
             "relevant 20 % | without a random 20 % | videos in which it loses more |", "|---|---|---|---|---|"]
    for name, row in maps.items():
        (relevant, spread), (random, random_spread) = row["drop_relevant"], row["drop_random"]
        lines.append(f"| {name} | {row['object_over_background']:.1f} ({100 * row['videos_with_more_on_object']:.0f} % "
                     f"of videos above 1) | {relevant:.2f} ± {spread:.2f} | {random:.2f} ± {random_spread:.2f} | "
                     f"{100 * row['videos_with_larger_drop']:.0f} % |")
    lines += ["", f"| share of a text's relevance | {' | '.join(ROLES)} | verb above noun |",
              "|---|---|---|---|---|---|"]
    for name, row in words.items():
        lines.append(f"| {name} | {' | '.join(f'{100 * row[role]:.0f} %' for role in ROLES)} | "
                     f"{100 * row['verb_over_noun']:.0f} % of texts |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="of configs/claver_motion_explained.py; trained when left out")
    parser.add_argument("--videos", type=Path, default=Path("data/motion"), help="folder of the motion videos")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/explained"), help="folder of all results")
    parser.add_argument("--count", type=int, default=200, help="videos looked at")
    parser.add_argument("--seed", type=int, default=0, help="of training, clips and random removal")
    options = parser.parse_args()
    count, seed, work_dir = options.count, options.seed, options.work_dir
    if count < 2:
        parser.error(f"--count must be at least 2, got {count}")

    try:
        if options.checkpoint is None:
            make_motion_videos(options.videos)
            options.checkpoint = train(work_dir, options.videos, seed)
        trained = Recognizer(CONFIG, options.checkpoint)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    clips, covered, names = load_clips(trained, count, seed)
    maps = study_maps(trained, clips, covered, names, seed)
    torch.manual_seed(seed)
    untrained = Recognizer(CONFIG, untrained=True)
    words = {"before training": study_words(untrained, clips, names, seed),
             "after": study_words(trained, clips, names, seed)}
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / "study.json").write_text(json.dumps(dict(maps=maps, words=words, videos=count), indent=1))
    (work_dir / "study.md").write_text(tables(maps, words, count) + "\n")
    print(tables(maps, words, count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
