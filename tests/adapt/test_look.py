"""One's own videos looked at: what is taken out and said, what is refused, what is held out."""
import os
import shutil
import tarfile
from collections import Counter

import pytest

from claver_mm.adapt.look import described, hold_out, look
from claver_mm.adapt.strips import strip
from claver_mm.protocols.clips import Clip, read_clips


@pytest.fixture()
def own(motion_videos, tmp_path):
    """Six videos in each of two folders."""
    for number, path in enumerate(sorted((motion_videos / "train").glob("*.mp4"))[:12]):
        place = tmp_path / ("up", "down")[number % 2] / path.name
        place.parent.mkdir(exist_ok=True)
        os.link(path, place)
    return tmp_path


def test_videos_come_with_content_length_and_class(own):
    videos = look(read_clips(own))
    assert videos.classes == ("down", "up") and len(videos) == 12 and not videos.left_out
    assert set(videos.seconds) == {1.0} and len(set(videos.digests)) == 12
    assert videos.labels == [0] * 6 + [1] * 6


def test_what_cannot_be_read_is_left_out_by_name_and_the_rest_goes_on(own):
    (own / "up/cut.mp4").write_bytes((own / "up" / os.listdir(own / "up")[0]).read_bytes()[:700])
    (own / "up/empty.mp4").write_bytes(b"")
    videos = look(read_clips(own))
    assert len(videos) == 12
    assert sorted(words.split(" ")[0] for words in videos.left_out) == [str(own / "up/cut.mp4"),
                                                                        str(own / "up/empty.mp4")]
    assert "left out: " + videos.left_out[0] in described(videos, *hold_out(videos))


def test_a_video_under_two_names_counts_once(own):
    first = sorted((own / "up").iterdir())[0]
    shutil.copy(first, own / "up/zz copy.mp4")
    videos = look(read_clips(own))
    assert len(videos) == 12 and "zz copy.mp4 is" in videos.left_out[0] and first.name in videos.left_out[0]


def test_a_video_in_two_classes_is_refused_by_both_names(own):
    shutil.copy(sorted((own / "up").iterdir())[0], own / "down/zz.mp4")
    with pytest.raises(ValueError, match=r"zz\.mp4 and .*are one video, in the classes 'down' and 'up'"):
        look(read_clips(own))


def test_stretches_of_one_video_may_be_of_several_classes_and_stay_on_one_side(own):
    path = str(sorted((own / "up").iterdir())[0])
    clips = [*read_clips(own), Clip(path, "down", 0.0, 0.5), Clip(path, "up", 0.5, 1.0), Clip(path, "up", 0.5, 9.0)]
    videos = look(clips)
    assert len(videos) == 14  # an end behind the video's is the video's: the last one stands there already
    for seed in range(5):
        train, _ = hold_out(videos, 0.5, seed)
        assert len({number in set(train) for number, clip in enumerate(videos.clips) if clip.path == path}) == 1


def test_a_stretch_behind_the_end_is_left_out(own):
    path = str(sorted((own / "up").iterdir())[0])
    videos = look([*read_clips(own), Clip(path, "up", 7.0, 8.0)])
    assert len(videos) == 12 and "has 1.00 s; the stretch from 7 s on is not in it" in videos.left_out[0]


def test_of_a_video_in_both_given_splits_the_one_for_training_goes(own):
    clips = [clip._replace(split="train") for clip in read_clips(own)]
    clips.append(clips[0]._replace(split="val"))
    videos = look(clips)
    assert len(videos) == 12 and "is held out as well, and not learnt from" in videos.left_out[0]
    train, out = hold_out(videos)
    assert len(train) == 11 and videos.clips[out[0]] == clips[-1]


def test_a_video_in_a_tar_shard_is_looked_at_like_any_other(own, tmp_path):
    """Its digest was asked of a file of that name, which is none."""
    with tarfile.open(tmp_path / "all.tar", "w") as shard:
        shard.add(own / "up", "up")
        shard.add(own / "down", "down")
    clips = read_clips(own)
    inside = [clip._replace(path=str(tmp_path / "all.tar" / os.path.relpath(clip.path, own))) for clip in clips]
    assert look(inside).digests == look(clips).digests
    assert strip(dict(video=os.path.relpath(inside[0].path, tmp_path), start=None, end=None), root=tmp_path).images


def test_a_video_that_is_held_out_twice_counts_once_though_it_stands_in_training_too(own):
    """It was compared with the first of all, the one for training, and so with none that was held out."""
    first, *rest = [clip._replace(split="train") for clip in read_clips(own)]
    copy = shutil.copy(first.path, own / "zz.mp4")
    videos = look([first, *rest, first._replace(split="val"), first._replace(split="val", path=str(copy))])
    assert len(videos) == 12 and len(hold_out(videos)[1]) == 1
    assert videos.left_out[1] == f"{copy} is {first.path} once more"


@pytest.mark.parametrize("seed", range(6))
def test_files_that_several_classes_share_are_held_out_so_that_each_class_keeps_one(seed, own):
    """Of three files with two classes each a draw for each class could take two, and a class had none to learn from."""
    paths = [clip.path for clip in read_clips(own)[:3]]
    clips = [Clip(path, name, *part) for path, names in zip(paths, ("ab", "bc", "ca"))
             for name, part in zip(names, ((0.0, 0.5), (0.5, 1.0)))]
    train, out = hold_out(look(clips), 0.5, seed)
    assert {clips[place].label for place in train} == set("abc") and out


@pytest.mark.parametrize("names", [["up"], ["up", "down"]])
def test_a_class_without_any_video_is_refused(names, own):
    for name in names:
        shutil.rmtree(own / name)
        (own / name).mkdir()
        (own / name / "x.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="has no video that can be learnt from; .*x.mp4"):
        look(read_clips(own))


def test_one_class_is_nothing_to_tell_apart(own):
    shutil.rmtree(own / "up")
    with pytest.raises(ValueError, match="one class alone .'down'"):
        look(read_clips(own))


def test_what_is_held_out_depends_on_seed_and_content_alone(own, tmp_path):
    videos = look(read_clips(own))
    train, out = hold_out(videos, 0.34)
    assert Counter(videos.clips[place].label for place in out) == {"up": 2, "down": 2}
    assert sorted(train + out) == list(range(12))
    chosen = {videos.digests[place] for place in out}
    moved = tmp_path / "moved"
    for number, clip in enumerate(reversed(videos.clips)):
        place = moved / clip.label / f"{number}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(clip.path, place)
    again = look(read_clips(moved))
    assert {again.digests[place] for place in hold_out(again, 0.34)[1]} == chosen
    assert any({videos.digests[place] for place in hold_out(videos, 0.34, seed)[1]} != chosen for seed in range(1, 6))


def test_a_class_of_one_video_is_learnt_and_not_measured(own):
    for path in sorted((own / "up").iterdir())[1:]:
        path.unlink()
    videos = look(read_clips(own))
    train, out = hold_out(videos)
    assert {videos.clips[place].label for place in out} == {"down"}
    assert "none held out, so that nothing is measured of it: up" in described(videos, train, out)


def test_splits_that_leave_a_class_nothing_or_are_half_given_are_refused(own):
    clips = read_clips(own)
    with pytest.raises(ValueError, match="others do not; fill in all of the column split"):
        hold_out(look([clips[0]._replace(split="val"), *clips[1:]]))
    with pytest.raises(ValueError, match="class 'up' has no video for training"):
        hold_out(look([clip._replace(split="val" if clip.label == "up" else "train") for clip in clips]))
    with pytest.raises(ValueError, match="must lie in"):
        hold_out(look(clips), 1.0)
