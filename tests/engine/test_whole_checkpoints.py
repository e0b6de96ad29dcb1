"""Wherever a run is stopped, there is a whole checkpoint; a resume finds the newest and ends as an unbroken run."""
import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.hooks import Hook
from stopped import assert_same, killed_at, logged, small_run

from claver_mm.engine.checkpoints import checkpoints_in, damage, newest_checkpoint


@pytest.fixture(scope="module")
def whole(motion_videos, tmp_path_factory):
    """Work folder of a run that was not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    small_run(motion_videos, folder).train()
    return folder


def write(path: Path, iteration: int, time: str = "20260101_000000") -> Path:
    torch.save(dict(meta=dict(iter=iteration, epoch=0, time=time), state_dict=dict(w=torch.ones(9999))), path)
    return path


def cut(path: Path, share: float = 0.5) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(("run_", "val_"))}


def test_the_newest_is_the_one_written_last_whatever_copying_made_of_the_times_of_files(tmp_path):
    write(tmp_path / "epoch_9.pth", 9)
    newest = write(tmp_path / "epoch_10.pth", 10)
    os.utime(newest, (1, 1))
    assert newest_checkpoint(tmp_path) == (newest, [])


def test_checkpoints_of_an_earlier_longer_run_in_the_folder_are_not_the_newest(tmp_path):
    write(tmp_path / "epoch_30.pth", 3000, "20250101_000000")
    newest = write(tmp_path / "epoch_1.pth", 100)
    assert newest_checkpoint(tmp_path)[0] == newest


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_cut_checkpoint_is_passed_over_and_named(tmp_path, share):
    """It stopped the resume with an error that named no file, beside an older one that was whole."""
    older = write(tmp_path / "epoch_1.pth", 1)
    cut(write(tmp_path / "epoch_2.pth", 2), share)
    found, said = newest_checkpoint(tmp_path)
    assert found == older
    assert len(said) == 1 and "epoch_2.pth is passed over: it is" in said[0]


def test_a_checkpoint_with_a_hole_in_its_middle_is_passed_over(tmp_path):
    """Of the right length, as some file systems leave it after a power loss: torch loads zeros without a word."""
    older, newer = write(tmp_path / "iter_1.pth", 1), write(tmp_path / "iter_2.pth", 2)
    with open(newer, "r+b") as file:
        file.seek(newer.stat().st_size // 2)
        file.write(bytes(512))
    found, said = newest_checkpoint(tmp_path)
    assert found == older and "iter_2.pth is passed over: it is damaged" in said[0]


def test_what_is_no_checkpoint_of_a_run_is_passed_over(tmp_path):
    torch.save(dict(w=torch.ones(1)), tmp_path / "epoch_7.pth")
    write(tmp_path / "epoch_3-0123abcd.pth", 9)
    older = write(tmp_path / "epoch_1.pth", 1)
    found, said = newest_checkpoint(tmp_path)
    assert found == older and "epoch_7.pth is passed over: it is no checkpoint of a run" in said[0]


def test_a_folder_whose_checkpoints_are_all_cut_is_refused(tmp_path):
    """The run would start anew and overwrite them."""
    for number in (1, 2):
        cut(write(tmp_path / f"epoch_{number}.pth", number))
    with pytest.raises(ValueError, match="(?s)none of the checkpoints in .* is whole.*epoch_1.pth.*epoch_2.pth"):
        newest_checkpoint(tmp_path)


def test_a_folder_without_checkpoints_has_no_newest(tmp_path):
    assert newest_checkpoint(tmp_path) == newest_checkpoint(tmp_path / "none") == (None, [])


def test_a_resume_needs_no_pointer_and_no_certain_folder(whole, motion_videos, tmp_path):
    """An empty ``last_checkpoint`` started the run anew; one of a renamed folder named a file that was gone.

    The newest checkpoint is cut as well. Under accumulation the gradient that was pending at the end of an epoch got
    lost: 5 iterations an epoch, two of them an update.
    """
    folder = tmp_path / "renamed"
    shutil.copytree(whole, folder)
    (folder / "last_checkpoint").write_text("")
    cut(folder / "epoch_3.pth")
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    runner = small_run(motion_videos, folder, resume="auto")
    runner.train()
    assert_same(whole / "epoch_3.pth", folder / "epoch_3.pth")
    assert "epoch_3.pth is passed over: it is cut off" in logged(folder)
    assert f"goes on from {folder / 'epoch_2.pth'}" in logged(folder)
    assert (folder / "last_checkpoint").read_text() == str(folder / "epoch_3.pth")
    assert names(folder) == names(whole) and before == {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    assert runner.message_hub.get_info("best_ckpt") == str(folder / "best_acc_top1_epoch_2.pth")


def test_the_host_s_way_to_resume_finds_the_newest_as_well(whole, motion_videos, tmp_path):
    shutil.copy(whole / "epoch_2.pth", tmp_path)
    runner = small_run(motion_videos, tmp_path, resume=True)
    runner.load_or_resume()
    assert runner._load_from == str(tmp_path / "epoch_2.pth")


def test_without_a_checkpoint_a_resume_starts_anew_and_says_so(whole, motion_videos, tmp_path):
    runner = small_run(motion_videos, tmp_path, resume="auto", load_from=str(whole / "epoch_3.pth"))
    runner.load_or_resume()
    assert "no checkpoint in" in logged(tmp_path) and runner.iter == 0
    assert f"starts anew, from the weights in {whole / 'epoch_3.pth'}" in logged(tmp_path)
    expected = torch.load(whole / "epoch_3.pth", weights_only=True)["state_dict"]
    key = "cls_head.clip.ln_post.weight"
    assert torch.equal(runner.model.state_dict()[key], expected[key])


@pytest.mark.parametrize("pointer, says", [("", "none of the checkpoints in"),
                                           ("/gone/epoch_1.pth", "names /gone/epo")], ids=["all cut", "gone"])
def test_a_folder_that_had_checkpoints_does_not_start_anew(motion_videos, tmp_path, pointer, says):
    (tmp_path / "last_checkpoint").write_text(pointer)
    if not pointer:
        cut(write(tmp_path / "epoch_1.pth", 1))
    with pytest.raises(ValueError, match=says):
        small_run(motion_videos, tmp_path, resume="auto").load_or_resume()


def test_a_cut_file_is_named_where_it_is_asked_for(whole, motion_videos, tmp_path):
    shutil.copy(whole / "epoch_2.pth", tmp_path / "mine.pth")
    cut(tmp_path / "mine.pth")
    runner = small_run(motion_videos, tmp_path, resume=True, load_from=str(tmp_path / "mine.pth"))
    with pytest.raises(ValueError, match="mine.pth cannot be loaded: it is cut off"):
        runner.load_or_resume()


class Stop(Hook):
    """An error where a hook is called for the ``times``-th time, after which nothing is written."""

    def __init__(self, where: str, times: int = 1):
        self.times = times
        setattr(self, where, self.stop)

    def stop(self, runner, *args, **kwargs):
        self.times -= 1
        if not self.times:
            raise KeyboardInterrupt


def test_the_validation_that_a_stop_prevented_is_made_up_for(whole, motion_videos, tmp_path):
    """A resume went on with the next epoch: the second, the best of this run, got no score and was never kept."""
    with pytest.raises(KeyboardInterrupt):
        small_run(motion_videos, tmp_path, Stop("before_val", 2)).train()
    assert "best_acc_top1_epoch_1.pth" in names(tmp_path)
    small_run(motion_videos, tmp_path, resume="auto").train()
    assert "epoch 2 was not validated" in logged(tmp_path)
    assert names(tmp_path) == names(whole)
    assert_same(whole / "epoch_3.pth", tmp_path / "epoch_3.pth")


def test_the_last_validation_is_made_up_for(motion_videos, tmp_path, monkeypatch):
    """With nothing left to train, a resume ended at once."""
    monkeypatch.setitem(__import__("stopped").SCORES, 3, 0.9)
    with pytest.raises(KeyboardInterrupt):
        small_run(motion_videos, tmp_path, Stop("before_val", 3)).train()
    small_run(motion_videos, tmp_path, resume="auto").train()
    assert {"best_acc_top1_epoch_3.pth", "epoch_3.pth"} <= names(tmp_path)
    assert "best_acc_top1_epoch_2.pth" not in names(tmp_path)


def test_a_full_disk_names_the_file_and_leaves_what_was_there(motion_videos, tmp_path, monkeypatch):
    """The older checkpoint was removed before the new one was written, and half of that stayed."""
    class FullAt(Hook):
        priority = "HIGHEST"

        def before_save_checkpoint(self, runner, checkpoint):
            if checkpoint["meta"]["epoch"] == 2:
                def refuse(number):
                    raise OSError(errno.ENOSPC, "No space left on device")
                monkeypatch.setattr(os, "fsync", refuse)

    with pytest.raises(OSError, match=r"epoch_2\.pth cannot be written: No space left on device") as error:
        small_run(motion_videos, tmp_path, FullAt(), **{"default_hooks.checkpoint.max_keep_ckpts": 1}).train()
    assert f"No room on the disk of {tmp_path}" in error.value.__notes__[0]
    assert {"epoch_1.pth", "best_acc_top1_epoch_1.pth", "last_checkpoint"} <= names(tmp_path)
    assert not [name for name in os.listdir(tmp_path) if "unfinished" in name or "epoch_2" in name]
    assert not damage(tmp_path / "epoch_1.pth") and not damage(tmp_path / "best_acc_top1_epoch_1.pth")
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "epoch_1.pth")


def test_a_best_file_that_is_gone_or_cut_is_made_anew(whole, motion_videos, tmp_path):
    """Scores below that of a file that did not exist made no best one, to the end of the run. Of what a kill left, the
    half of a validation's report stayed."""
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "epoch_3.pth").unlink()
    cut(folder / "best_acc_top1_epoch_2.pth")
    (folder / "best_acc_top1_epoch_9.pth").write_bytes(b"cut")
    for name in ("epoch_3.pth", "val_20260101_000000.json", "run_20260101_000000.json"):
        (folder / f".{name}.0123456789abcdef.unfinished").touch()
    small_run(motion_videos, folder, resume="auto").train()
    assert names(folder) == names(whole)
    assert not damage(folder / "best_acc_top1_epoch_2.pth")
    assert "with a score of 0.6, is of no use: it is cut off" in logged(folder)
    assert "best_acc_top1_epoch_9.pth was not written to its end and is removed" in logged(folder)


def test_a_run_that_starts_anew_says_whose_checkpoints_it_overwrites(whole, motion_videos, tmp_path):
    shutil.copy(whole / "epoch_3.pth", tmp_path)
    shutil.copy(whole / "best_acc_top1_epoch_2.pth", tmp_path / "best_acc_top1_epoch_7.pth")
    with pytest.raises(KeyboardInterrupt):
        small_run(motion_videos, tmp_path, Stop("before_train_iter")).train()
    assert "starts anew, and will overwrite checkpoints of an earlier one" in logged(tmp_path)
    assert "best_acc_top1_epoch_7.pth is not of this run up to here; it stays" in logged(tmp_path)
    assert checkpoints_in(tmp_path) == [tmp_path / "epoch_3.pth"]


def test_whatever_mmengine_writes_on_a_disk_is_whole(tmp_path, monkeypatch):
    backend = get_file_backend(str(tmp_path / "any.pkl"))
    backend.put(b"old", tmp_path / "any.pkl")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        backend.put(b"new", tmp_path / "any.pkl")
    assert (tmp_path / "any.pkl").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
    backend.put_text("into nothing", os.devnull)
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("number", [57, 73, 92, 101], ids=[
    "while the best is written", "before the former best goes", "before an old checkpoint goes",
    "while the report is written"])
def test_a_killed_run_ends_as_one_that_was_not(whole, motion_videos, tmp_path, number):
    """By SIGKILL. Events are numbered by ``stopped.Events``; ``tests/engine/kills.py`` tries many."""
    killed_at(number, motion_videos, tmp_path)
    small_run(motion_videos, tmp_path, resume="auto").train()
    assert_same(whole / "epoch_3.pth", tmp_path / "epoch_3.pth")
    assert names(tmp_path) == names(whole)
