#!/usr/bin/env python
"""Make motion videos, train and test a small CLAVER and its mean-pooling twin on them, draw and tabulate results."""
import claver_mm  # noqa: F401

import argparse
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from claver_mm.video.motion import MOTION_CLASSES, render_clip, reversed_class
from claver_mm.video.motion_files import make_motion_videos

TOOLS = Path(__file__).resolve().parent
CONFIGS = {"KMT": "claver_motion.py", "mean pooling": "claver_motion_mean.py"}
COLOURS = {"KMT": "#0072B2", "mean pooling": "#E69F00"}  # Okabe and Ito: told apart by colour-blind people


def run(tool: str, log: Path, *arguments: str) -> None:
    """Run a tool of this folder; its epochs and results go to the screen, all it shows to ``log``."""
    command = [sys.executable, "-W", "ignore", str(TOOLS / tool), *arguments]
    env = dict(os.environ, OMP_NUM_THREADS="1")  # the models are small: one core computes, the other decodes
    with log.open("w") as file, subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                                 text=True) as process:
        for line in process.stdout:
            file.write(line)
            if line.startswith(("epoch ", "test: ")):
                print("   ", line.strip(), flush=True)
    if process.returncode:
        sys.exit(f"{tool} failed; the end of {log}:\n" + "".join(log.read_text().splitlines(keepends=True)[-15:]))


def train_and_test(name: str, config: Path, work_dir: Path, videos: Path, seed: int) -> dict:
    """Through tools/train.py and tools/test.py; labels, predictions and seconds."""
    folder = work_dir / config.stem
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--cfg-options"]
    for split, annotations in (("train", "train"), ("val", "val"), ("test", "val")):
        dataset = f"{split}_dataloader.dataset"
        options += [f"{dataset}.ann_file={videos / annotations}.txt", f"{dataset}.data_prefix.video={videos}"]
    print(f"{name}: training", flush=True)
    start = time.time()
    run("train.py", folder / "train.log", str(config), "--work-dir", str(folder), "--seed", str(seed), *options)
    seconds = time.time() - start
    print(f"{name}: testing, 4 clips x 3 crops", flush=True)
    run("test.py", folder / "test.log", str(config), str(folder / "epoch_8.pth"), "--work-dir", str(folder),
        "--dump", str(folder / "scores.pkl"), *options)
    entries = pickle.loads((folder / "scores.pkl").read_bytes())
    labels = np.array([int(entry["gt_label"]) for entry in entries])
    predictions = np.array([int(entry["pred_score"].argmax()) for entry in entries])
    return dict(labels=labels, predictions=predictions, seconds=seconds)


def summary(result: dict) -> dict:
    """Accuracy, accuracy up to direction, and accuracy of direction where the pair is right; in percent."""
    partner = np.array([MOTION_CLASSES.index(reversed_class(name)) for name in MOTION_CLASSES])
    labels, predictions = result["labels"], result["predictions"]
    pair = (predictions == labels) | (predictions == partner[labels])
    return dict(top1=100 * (predictions == labels).mean(), pair=100 * pair.mean(),
                direction=100 * (predictions == labels)[pair].mean(), seconds=result["seconds"])


def draw(results: dict[str, dict], path: Path) -> None:
    """Sample strips, accuracy by class, and confusion of both models, as one picture."""
    classes, count = MOTION_CLASSES, len(MOTION_CLASSES)
    figure = plt.figure(figsize=(13, 8.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.05])
    left, right = top.subfigures(1, 2, width_ratios=[1.25, 1])
    left.suptitle("one clip of each class: 8 of its 16 frames", fontsize=11)
    for axis, name in zip(left.subplots(count // 2, 2).ravel(), classes):
        frames = render_clip(name, (7, classes.index(name) // 2 * 2))[::2]  # partners show the same clip
        axis.imshow(np.concatenate([np.pad(frame, ((0, 0), (0, 1), (0, 0)), constant_values=255)
                                    for frame in frames], axis=1))
        axis.set_title(name, fontsize=9, pad=2)
        axis.axis("off")
    axis = right.subplots()
    for number, (name, result) in enumerate(results.items()):
        accuracy = [100 * (result["predictions"] == label)[result["labels"] == label].mean() for label in range(count)]
        axis.barh(np.arange(count) + 0.38 * (number - 0.5), accuracy, 0.36, color=COLOURS[name], label=name)
    axis.axvline(50, color="0.35", linestyle="--", linewidth=1)
    axis.text(51, -0.62, "pair known, direction guessed", fontsize=8, color="0.35")
    axis.set(yticks=range(count), yticklabels=classes, xlim=(0, 100), ylim=(count - 0.4, -1.1),
             xlabel="top-1 accuracy (%)", title="accuracy by class")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    for axis, (name, result) in zip(bottom.subplots(1, len(results)), results.items()):
        confusion = np.zeros((count, count))
        np.add.at(confusion, (result["labels"], result["predictions"]), 1)
        confusion *= 100 / confusion.sum(1, keepdims=True)
        image = axis.imshow(confusion, cmap="Blues", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(confusion):
            if value >= 0.5:
                axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8,
                          color="white" if value > 55 else "black")
        axis.set(xticks=range(count), yticks=range(count), yticklabels=classes, xlabel="recognised", ylabel="true",
                 title=f"{name}: {summary(result)['top1']:.1f} % top-1")
        axis.set_xticklabels(classes, rotation=30, ha="right")
    bottom.colorbar(image, ax=bottom.axes, label="% of the class", shrink=0.8)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def table(results: dict[str, dict]) -> str:
    """Markdown table of the results."""
    lines = ["| model | top-1 | right pair | right direction within the pair | training |", "|---|---|---|---|---|"]
    for name, result in results.items():
        row = summary(result)
        lines.append(f"| {name} | {row['top1']:.1f} % | {row['pair']:.1f} % | {row['direction']:.1f} % | "
                     f"{row['seconds']:.0f} s |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, default=Path("data/motion"), help="folder of the motion videos")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"), help="folder of all results")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training")
    args = parser.parse_args()

    start = time.time()
    make_motion_videos(args.videos, num_train=2000, num_val=400)
    results = {name: train_and_test(name, TOOLS.parent / "configs" / config, args.work_dir, args.videos, args.seed)
               for name, config in CONFIGS.items()}
    draw(results, args.work_dir / "demo.png")
    (args.work_dir / "demo.md").write_text(table(results) + "\n")
    (args.work_dir / "demo.json").write_text(json.dumps(
        {name: summary(result) for name, result in results.items()} | {"seed": args.seed}, indent=1))
    print(f"\n{table(results)}\n\n{args.work_dir / 'demo.png'}: sample strips, accuracy by class, confusion "
          f"(all in {time.time() - start:.0f} s)")


if __name__ == "__main__":
    main()
