"""Checkpoints that are written whole, and found again: the newest whole one, wherever the run was stopped."""
from __future__ import annotations

import re
import zipfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import torch
from mmaction.registry import HOOKS
from mmengine.dist import is_main_process, master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook

from ..files import write_text, written_whole
from .loop import VALIDATED, ResumableTrainLoop
from .ranks import decided_by_rank_0

NAMES = ("epoch_{}.pth", "iter_{}.pth")
"""Names that MMEngine gives checkpoints by itself."""
FORMER_BEST = "former_best_ckpts"
"""Kept in the message hub: files that a best checkpoint takes the place of, should the run be killed before they go."""
UNFINISHED = r"\.({})\.[0-9a-f]{{16}}\.unfinished"  # as written_whole names them


class WholeFiles(LocalBackend):
    """MMEngine's files on local disks, written whole or not at all (``files.written_whole``); errors name them."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """See ``LocalBackend.put``."""
        if Path(filepath).exists() and not Path(filepath).is_file():  # a pipe, /dev/null
            return super().put(obj, filepath)
        with written_whole(filepath) as file:
            file.write(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """See ``LocalBackend.put_text``."""
        self.put(obj.encode(encoding), filepath)


register_backend("local", WholeFiles, force=True, prefixes="")


def damage(path: str | Path) -> str | None:
    """What is wrong with a checkpoint file, read to its end; None for one that is whole.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            return "it is cut off, or no checkpoint" if file.seek(0, 2) else "it is empty"
        try:
            with zipfile.ZipFile(file) as archive:
                broken = archive.testzip()
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            broken = error
    return f"it is damaged ({broken})" if broken else None


def read_meta(path: str | Path) -> dict:
    """What a checkpoint of a run says of itself, tensors left on the disk.

    Raises:
        ValueError: The file is damaged, or no checkpoint of a run; the message says what is wrong, not which file.
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(damage(path))
    try:
        meta = torch.load(path, map_location="cpu", mmap=True, weights_only=True)["meta"]
        return dict(meta, iter=int(meta["iter"]), time=str(meta["time"]))
    except OSError:
        raise
    except Exception as error:  # torch has many for damaged files
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(damage(path) or f"it is no checkpoint of a run ({type(error).__name__}: {first[:200]})"
                         ) from error


def checkpoints_in(folder: str | Path, names: Sequence[str] = NAMES) -> list[Path]:
    """Files of a folder that are named as a run's checkpoints."""
    pattern = "|".join(re.escape(name).replace(r"\{\}", r"\d+") for name in names)
    return sorted(path for path in Path(folder).glob("*") if re.fullmatch(pattern, path.name) and path.is_file())


def newest_checkpoint(folder: str | Path, names: Sequence[str] = NAMES) -> tuple[Path | None, list[str]]:
    """The whole checkpoint of a folder that was written last, and why others were passed over, a line each.

    The time is that within the checkpoint, which copying the folder leaves as it is. MMEngine's pointer
    (``last_checkpoint``) is not asked: it holds an absolute path, and may be one checkpoint behind.

    Returns:
        None for a folder without checkpoints.

    Raises:
        ValueError: There are checkpoints, none of them whole, or the pointer names one that is gone.
        OSError: A checkpoint cannot be read.
    """
    folder = Path(folder)
    candidates, passed_over = [], []
    for path in checkpoints_in(folder, names):
        try:
            meta = read_meta(path)
            candidates.append((meta["time"], meta["iter"], path))
        except ValueError as error:
            passed_over.append(f"{path} is passed over: {error}")
    for _, _, path in sorted(candidates, reverse=True):
        broken = damage(path)
        if not broken:
            return path, passed_over
        passed_over.append(f"{path} is passed over: {broken}")
    if passed_over:
        raise ValueError(f"none of the checkpoints in {folder} is whole, so there is nothing to resume from:\n"
                         + "\n".join(passed_over) + "\nTo start anew, leave out --resume or take another work folder")
    return None, []


def folder_of(hook: CheckpointHook | None, runner) -> str:
    """Where a checkpoint hook writes, or is going to write when training begins."""
    out_dir = str(getattr(hook, "out_dir", None) or runner.work_dir)
    if out_dir == runner.work_dir or hasattr(hook, "file_backend"):  # it has begun, and knows
        return out_dir
    return out_dir.rstrip("/") + "/" + Path(runner.work_dir).name


def find_checkpoint(runner) -> tuple[str | None, list[str]]:
    """The checkpoint that a run goes on from by itself, and what there is to say about it; None where it starts anew.

    Raises:
        ValueError: There are checkpoints, none of them whole, or the pointer names one that is gone.
        OSError: A checkpoint cannot be read.
    """
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    folder, pointer = folder_of(hook, runner), Path(runner.work_dir, "last_checkpoint")
    pointed = pointer.read_text(errors="replace").strip("\0 \n") if pointer.is_file() else ""
    if "://" in folder:  # not on a disk; there is the pointer alone to go by
        return pointed or None, []
    found, said = newest_checkpoint(folder, (*NAMES, *([hook.filename_tmpl] if hook else [])))
    if found is None and pointed:
        raise ValueError(f"{pointer} names {pointed}, and there is no checkpoint in {folder}: put it back, name "
                         f"another with --resume FILE, or delete {pointer} to start anew")
    return found and str(found), said


@HOOKS.register_module(name="CheckpointHook")
class WholeCheckpointHook(CheckpointHook):
    """Takes the place of the host's hook of that name in MMAction2's scope, with its arguments.

    Wherever a run is stopped, and whatever a full disk refuses, the last checkpoint and the best one are there, whole:
    a file is removed when the one that follows it is on the disk. A resumed run finds its best checkpoint beside the
    one it goes on from, also in a folder that was moved, and removes what a kill left lying there. Checkpoints by
    iteration wait for the update where gradients are accumulated.
    """

    _due = False

    def before_train(self, runner) -> None:
        """See ``CheckpointHook.before_train``; says which files in the folder are of another run."""
        super().before_train(runner)
        if "://" in str(self.out_dir):
            return
        if runner.iter:
            self._find_best(runner)
        self._tidy(runner)

    def _find_best(self, runner) -> None:
        """Point to the best files beside the checkpoint; where there is none, the next validation makes one."""
        hub = runner.message_hub
        last = Path(self.out_dir, Path(hub.get_info("last_ckpt", "nowhere")).name)
        self.last_ckpt = str(last) if decided_by_rank_0(last.is_file) else None
        for suffix, path in self._best().items():
            if path is None:
                continue
            here = Path(self.out_dir, Path(path).name)
            wrong = decided_by_rank_0(lambda here=here: damage(here) if here.is_file() else "it is missing")
            if wrong:
                runner.logger.warning(f"the best checkpoint so far, {here}, with a score of "
                                      f"{hub.get_info('best_score' + suffix)}, is of no use: {wrong}. The best from "
                                      f"epoch {runner.epoch} on takes its place")
                for name in ("best_score", "best_ckpt"):
                    hub.pop_info(name + suffix)
                hub.update_info(VALIDATED, 0)
            else:
                hub.update_info(f"best_ckpt{suffix}", str(here))
            self._set_best(suffix, None if wrong else str(here))

    @master_only
    def _tidy(self, runner) -> None:
        """Remove what a kill left of files of this run; name those that are of another."""
        folder, best = Path(self.out_dir), {path for path in self._best().values() if path}
        names = "|".join([*(re.escape(name).replace(r"\{\}", r"\d+") for name in (*NAMES, self.filename_tmpl)),
                          r"best_.*\.pth", "last_checkpoint", r"(?:run|val)_\d{8}_\d{6}\.json"])
        for path in {path for where in (folder, Path(runner.work_dir)) if where.is_dir() for path in where.iterdir()}:
            if re.fullmatch(UNFINISHED.format(names), path.name):
                path.unlink()
        for path in runner.message_hub.get_info(FORMER_BEST, []) if runner.iter else []:
            self._remove(folder / Path(path).name, unless=best)
        for path in sorted(path for path in folder.glob("best_*.pth") if path.is_file() and str(path) not in best):
            if damage(path):
                runner.logger.warning(f"{path} was not written to its end and is removed")
                path.unlink()
            elif not re.search(r"-[0-9a-f]{8}\.pth$", path.name):  # as published ones are named
                runner.logger.warning(f"{path} is not of this run up to here; it stays")
        earlier = [] if runner.iter else checkpoints_in(folder, (*NAMES, self.filename_tmpl))
        if earlier:
            runner.logger.warning(f"this run starts anew, and will overwrite checkpoints of an earlier one in {folder} "
                                  f"({', '.join(path.name for path in earlier[:5])}{', ...' * (len(earlier) > 5)}); "
                                  "--resume goes on with that one")

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """See ``CheckpointHook.after_train_iter``; waits where a gradient is pending."""
        loop = runner.train_loop
        if self.by_epoch or not isinstance(loop, ResumableTrainLoop):
            return super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._due = (self._due or self.every_n_train_iters(runner, self.interval, self.save_begin)
                     or self.save_last and self.is_last_train_iter(runner))
        if self._due and not loop.gradient_is_pending:
            self._due = False
            runner.logger.info(f"Saving checkpoint at {runner.iter + 1} iterations")
            self._save_checkpoint(runner)

    def after_val_epoch(self, runner, metrics: dict) -> None:
        """See ``CheckpointHook.after_val_epoch``."""
        runner.message_hub.update_info(VALIDATED, runner.epoch)
        super().after_val_epoch(runner, metrics)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        hub, kept = runner.message_hub, []
        if self.max_keep_ckpts > 0:
            kept = [*(other for other in self.keep_ckpt_ids if other != step), step]
            hub.update_info("keep_ckpt_ids", kept)  # one too many: a resumed run removes it if this one could not
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args)
        if is_main_process():
            write_text(Path(runner.work_dir, "last_checkpoint"), self.last_ckpt)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
            for other in kept[:-self.max_keep_ckpts]:
                self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(other)))

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        before = self._best()
        runner.message_hub.update_info(FORMER_BEST, [path for path in before.values() if path])
        for suffix in before:  # what the stock hook does not know, it does not remove before its successor is there
            self._set_best(suffix, None)
        super()._save_best_checkpoint(runner, metrics)
        after = self._best()
        for suffix, path in before.items():
            if after.get(suffix) is None:
                self._set_best(suffix, path)
        for path in before.values():
            self._remove(path, unless=set(self._best().values()))

    def _best(self) -> dict[str, str | None]:
        """Best file of each metric, by the end of its names in the message hub."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {"": self.best_ckpt_path}
        return {f"_{key}": self.best_ckpt_path_dict.get(key) for key in self.key_indicators}

    def _set_best(self, suffix: str, path: str | None) -> None:
        if suffix:
            self.best_ckpt_path_dict[suffix[1:]] = path
        else:
            self.best_ckpt_path = path

    @master_only
    def _remove(self, path: str | Path | None, unless: set = frozenset()) -> None:
        if path is None or str(path) in unless:
            return
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # of deepspeed
            self.file_backend.rmtree(path)
