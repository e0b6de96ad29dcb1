"""Clips with labels, out of folders and CSV files as people have them."""
import os

import pytest

from claver_mm.protocols.clips import Clip, class_names, read_clips


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def named(root, clips):
    return {(os.path.relpath(clip.path, root), clip.label) for clip in clips}


def test_each_folder_is_a_class_and_all_videos_below_it_are_its(tmp_path):
    touch(tmp_path, "drink water/a.mp4", "drink water/day 2/b.MP4", "قفز/c.avi", "🏃/d.webm", "🏃/notes.txt",
          "🏃/.hidden.mp4", ".trash/e.mp4", "readme.md")
    assert named(tmp_path, read_clips(tmp_path)) == {
        ("drink water/a.mp4", "drink water"), ("drink water/day 2/b.MP4", "drink water"), ("قفز/c.avi", "قفز"),
        ("🏃/d.webm", "🏃")}


def test_folders_of_splits_stand_above_those_of_classes(tmp_path):
    touch(tmp_path, "Train/a/1.mp4", "Train/b/2.mp4", "val/a/3.mp4")
    assert {(clip.label, clip.split) for clip in read_clips(tmp_path)} == {("a", "train"), ("b", "train"), ("a", "val")}


def test_a_class_called_train_is_a_class(tmp_path):
    touch(tmp_path, "train/1.mp4", "bus/2.mp4")
    assert {clip.label for clip in read_clips(tmp_path)} == {"train", "bus"}
    assert {clip.split for clip in read_clips(tmp_path)} == {None}


def test_links_are_followed_and_circles_end(tmp_path):
    touch(tmp_path, "own/a/1.mp4", "else/2.mp4")
    (tmp_path / "own/b").symlink_to(tmp_path / "else")
    (tmp_path / "else/again").symlink_to(tmp_path / "else")
    (tmp_path / "own/b/3.mp4").symlink_to(tmp_path / "own/a/1.mp4")
    assert named(tmp_path / "own", read_clips(tmp_path / "own")) == {("a/1.mp4", "a"), ("b/2.mp4", "b"),
                                                                     ("b/3.mp4", "b")}


@pytest.mark.parametrize("names, words", [
    (["1.mp4", "2.mp4"], "holds no folders, but 2 videos"), ([], "holds no folders"),
    (["a/x.txt"], "no videos in the 1 folders"),
    (["a/1.mp4", "b/2.mp4", "c d/x.txt"], "no videos in .*c d, whose name is taken for a class"),
    (["train/a/1.mp4", "train/b/1.mp4", "val/a/2.mp4", "val/c/x.txt"], "no videos in .*c, whose name")])
def test_a_folder_without_classes_or_videos_is_refused(names, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_clips(touch(tmp_path, *names))


def csv(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_csv_file_may_cut_many_clips_out_of_one_video(tmp_path):
    clips = read_clips(csv(tmp_path, "Video, label ,start,end,split\n"
                           "day.mp4,run,,2.5,train\nday.mp4,\"jump, high\",1:02.5,1:00:00,val\n"))
    assert clips == [Clip(str(tmp_path / "day.mp4"), "run", None, 2.5, "train"),
                     Clip(str(tmp_path / "day.mp4"), "jump, high", 62.5, 3600.0, "val")]


@pytest.mark.parametrize("text, words", [
    ("a.mp4,run\n", "line 1: the first line names the columns"),
    ("video,label\n", "lists no video"),
    ("video,label\na.mp4,jump, high\n", "line 2: 2 columns are expected"),
    ("video,label\na.mp4\n", "line 2: 2 columns are expected"),
    ("video,label\na.mp4, \n", "line 2: no label"),
    ("video,label,start\na.mp4,run,soon\n", "line 2: start 'soon' is no time"),
    ("video,label,start\na.mp4,run,-1\n", "line 2: start '-1' is no time"),
    ("video,label,start\na.mp4,run,nan\n", "line 2: start 'nan' is no time"),
    ("video,label,start,end\na.mp4,run,3,2\n", "line 2: the clip ends at 2 s, and begins at 3 s"),
    ("video,label,split\na.mp4,run,both\n", "line 2: split 'both' is none of train and val")])
def test_a_line_that_cannot_be_read_is_named(text, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_clips(csv(tmp_path, text))


def test_a_list_of_numbers_needs_the_names_of_its_classes(tmp_path):
    (tmp_path / "list.txt").write_text("a b.mp4 1\n")
    with pytest.raises(ValueError, match="give the names of the classes"):
        read_clips(tmp_path / "list.txt")
    assert read_clips(tmp_path / "list.txt", ["x", "y"]) == [Clip(str(tmp_path / "a b.mp4"), "y")]


def test_one_video_is_no_folder_of_them(tmp_path):
    with pytest.raises(ValueError, match="one video"):
        read_clips(touch(tmp_path, "a.mp4") / "a.mp4")


def test_classes_are_sorted_as_people_count():
    assert class_names([Clip("", name) for name in ("take 10", "Take 2", "b", "take 2")]) == [
        "b", "Take 2", "take 2", "take 10"]
