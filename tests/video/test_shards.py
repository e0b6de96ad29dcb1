"""Videos in tar shards."""
import json
import os
import tarfile

import numpy as np
import pytest
from mmcv.transforms import Compose
from videos import all_frames, write_video

from claver_mm.datasets import UnreadableVideo
from claver_mm.video.shards import locate_video, member_index, split_path, video_exists


@pytest.fixture
def shard(tmp_path):
    """A shard with two videos and a text."""
    for number in (0, 1):
        write_video(tmp_path / f"{number}.mp4", num_frames=12, seed=number)
    (tmp_path / "note.txt").write_text("hello")
    path = tmp_path / "0007.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("0.mp4", "1.mp4", "note.txt"):
            archive.add(tmp_path / name, f"./some class/{name}")
    return path


def test_a_path_may_go_on_inside_a_shard(tmp_path):
    assert split_path("a/0.tar/b c/d.mp4") == (type(tmp_path)("a/0.tar"), "b c/d.mp4")
    assert split_path("a/b.mp4") is None and split_path("a/0.tar") is None
    (tmp_path / "folder.tar").mkdir()
    assert split_path(tmp_path / "folder.tar" / "a.mp4") is None


def test_a_member_is_the_file_that_went_in(shard):
    for name in ("0.mp4", "1.mp4", "note.txt"):
        assert locate_video(shard / "some class" / name) == (shard.parent / name).read_bytes()
    assert video_exists(shard / "some class/0.mp4") and not video_exists(shard / "some class/2.mp4")


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_a_video_in_a_shard_decodes_like_the_file(shard, decoder):
    steps = [dict(type="OpenVideo", decoders=[decoder]),
             dict(type="UniformSample", clip_len=4, test_mode=True), dict(type="DecodeFrames")]
    results = Compose(steps)(dict(filename=str(shard / "some class/1.mp4"), start_index=0, modality="RGB"))
    assert np.array_equal(results["imgs"], all_frames(shard.parent / "1.mp4")[results["frame_inds"]])


def test_what_was_learnt_of_a_shard_is_kept_beside_it_until_the_shard_changes(shard):
    members = member_index(shard)
    kept = shard.with_name("0007.tar.index.json")
    record = json.loads(kept.read_text())
    assert {name: tuple(place) for name, place in record["members"].items()} == members
    record["members"]["from the index"] = [0, 5]
    kept.write_text(json.dumps(record))
    member_index.cache_clear()
    assert "from the index" in member_index(shard)
    os.utime(shard, ns=(0, 0))
    member_index.cache_clear()
    assert member_index(shard) == members


@pytest.mark.parametrize("text", ["{", "[]", '{"a.mp4": [1, 2]}'])
def test_another_file_in_the_place_of_the_index_is_let_be(shard, text):
    """It raised a bare ``JSONDecodeError`` or ``KeyError``, or was written over."""
    other = shard.with_name("0007.tar.index.json")
    other.write_text(text)
    member_index.cache_clear()
    assert len(member_index(shard)) == 3 and other.read_text() == text


def test_a_missing_shard_and_a_missing_member_are_named(shard):
    with pytest.raises(FileNotFoundError, match="no video nowhere.mp4 among the 3 files of the shard .*0007.tar"):
        locate_video(shard / "nowhere.mp4")
    with pytest.raises(FileNotFoundError, match="no shard at .*0008.tar; check data_prefix"):
        locate_video(shard.with_name("0008.tar") / "a.mp4")
    assert not video_exists(shard.with_name("0008.tar") / "a.mp4")


def test_a_compressed_or_broken_shard_is_named(shard, tmp_path):
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(tmp_path / "0.mp4", "0.mp4")
    (tmp_path / "text.tar").write_text("no archive " * 100)
    for name in ("packed.tar", "text.tar"):
        with pytest.raises(UnreadableVideo, match=f"{name} is no uncompressed tar archive"):
            locate_video(tmp_path / name / "0.mp4")
    offset, _ = member_index(shard)["some class/0.mp4"]
    shard.write_bytes(shard.read_bytes()[:offset + 100])
    with pytest.raises(UnreadableVideo, match="0.mp4: the shard ends after 100 of [0-9]+ bytes"):
        locate_video(shard / "some class/0.mp4")
