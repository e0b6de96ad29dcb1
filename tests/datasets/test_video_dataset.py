"""Annotation lists: what is wrong is named before a run starts."""
import tarfile
from pathlib import Path

import numpy as np
import pytest
from mmaction.registry import DATASETS
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from claver_mm.datasets import TooManyUnreadable, UnreadableVideo, video_dataset


def dataset(tmp_path, lines, **kwargs):
    (tmp_path / "list.txt").write_text(lines)
    return DATASETS.build(dict(dict(type="ActionVideoDataset", ann_file=str(tmp_path / "list.txt"), pipeline=[],
                                    data_prefix=dict(video="videos"), classes=["jump", "run"]), **kwargs))


def test_paths_may_hold_spaces(tmp_path):
    data = dataset(tmp_path, "a b/c d.mp4 1\n\ne.mp4 0\n")
    assert [(data[i]["filename"], data[i]["label"]) for i in range(len(data))] == [
        ("videos/a b/c d.mp4", 1), ("videos/e.mp4", 0)]
    assert data.metainfo["classes"] == ["jump", "run"]


@pytest.mark.parametrize("lines, says", [
    ("a.mp4 0\nb.mp4\n", "list.txt, line 2: 'b.mp4' has no label"),
    ("a.mp4 jump\n", "line 1: label 'jump' is no number"),
    ("a.mp4 2\n", "line 1: label 2 is none of the 2 classes"),
    ("a.mp4 -1\n", "label -1 is none of the 2 classes"),
    ("\n", "is empty"),
])
def test_a_bad_line_is_named(tmp_path, lines, says):
    with pytest.raises(ValueError, match=says):
        dataset(tmp_path, lines)


def test_a_list_from_windows_with_two_spaces_is_read_as_it_is_checked(tmp_path):
    """The first name began with a byte order mark and names ended with a space, so that both were missing videos."""
    data = dataset(tmp_path, "\ufeffa.mp4  1\r\nb.mp4 0\r\n")
    assert [data[i]["filename"] for i in range(2)] == ["videos/a.mp4", "videos/b.mp4"]


def test_a_list_that_is_no_text_is_named(tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match="video.mp4 is no text in UTF-8"):
        dataset(tmp_path, "", ann_file=str(tmp_path / "video.mp4"))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no annotation list at .*nowhere.txt"):
        dataset(tmp_path, "a.mp4 0\n", ann_file=str(tmp_path / "nowhere.txt"))


@pytest.mark.parametrize("name", ["n" * 300 + ".mp4", "nul\0.mp4", "list.txt/a.mp4", "closed/a.mp4"])
def test_whatever_the_system_says_of_a_video_counts_against_the_budget(motion_videos, tmp_path, name, monkeypatch):
    """An error other than "not found" (a name too long, a closed folder) stopped the run."""
    stat = Path.stat

    def refuse(path, **options):
        if "closed" in path.parts:
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    good = (motion_videos / "train.txt").read_text().split()[0]
    data = dataset(tmp_path, f"{tmp_path}/{name} 0\n{motion_videos}/{good} 1\n", data_prefix=dict(video=""),
                   pipeline=PIPELINE, max_unreadable=1)
    assert data[0]["data_samples"].filename.endswith(good) and data.unreadable.tolist() == [True, False]


def test_other_errors_of_the_system_on_the_way_count_too(tmp_path):
    """A stale handle of a network disk stopped the run."""
    def stale(results):
        if "b.mp4" not in results["filename"]:
            raise OSError(116, "Stale file handle")
        return dict(results)
    assert dataset(tmp_path, "a.mp4 0\nb.mp4 1\n", pipeline=[stale], max_unreadable=1)[0]["filename"] == "videos/b.mp4"


def test_a_broken_shard_does_not_stop_a_run_before_it_starts(motion_videos, tmp_path):
    """Its videos count against the budget when their turn comes."""
    (tmp_path / "noise.tar").write_bytes(bytes(range(256)) * 4)
    good = (motion_videos / "train.txt").read_text().split()[0]
    data = dataset(tmp_path, f"{tmp_path}/noise.tar/a.mp4 0\n{motion_videos}/{good} 1\n", data_prefix=dict(video=""),
                   pipeline=PIPELINE, max_unreadable=1)
    assert data[0]["data_samples"].filename.endswith(good) and int(data.unreadable.sum()) == 1


@pytest.mark.parametrize("videos, times, share, failures", [
    (37, 1, 0.01, 3), (12, 1, 0.01, 1), (3, 1, 0.01, 1), (37, 10, 0.01, 30), (1000, 1, 0.01, 10), (37, 1, 0.0, 0)])
def test_a_share_of_a_small_set_is_a_budget_of_some(tmp_path, videos, times, share, failures):
    """1 % of 37 videos was a budget of none."""
    data = dataset(tmp_path, "".join(f"{i}.mp4 0\n" for i in range(videos)), times=times, max_unreadable=share)
    data.unreadable[:failures] = True
    data.check_unreadable()
    data.unreadable[failures] = True
    with pytest.raises(TooManyUnreadable, match=f"{failures + 1} of the {videos * times} samples"):
        data.check_unreadable()


def test_missing_videos_are_counted_and_named(tmp_path):
    """The published code drops missing files without a word."""
    (tmp_path / "here.mp4").touch()
    with pytest.raises(FileNotFoundError, match="2 of 3 videos .*gone.mp4"):
        dataset(tmp_path, "here.mp4 0\ngone.mp4 1\nlost.mp4 1\n", data_prefix=dict(video=str(tmp_path)),
                check_files=True)


def test_a_repeated_video_draws_anew_each_time(tmp_path):
    """Under ``RepeatDataset`` all its copies would draw the same, since they share a number."""
    data = dataset(tmp_path, "a.mp4 0\nb.mp4 1\n", pipeline=[lambda results: dict(drawn=np.random.rand())], times=3)
    data.seed_samples(0, 0)
    assert len(data) == 6 and len({data[i]["drawn"] for i in range(6)}) == 6
    assert data.get_data_info(4)["filename"] == "videos/a.mp4"
    with pytest.raises(ValueError, match="times must be at least 1"):
        dataset(tmp_path, "a.mp4 0\n", times=0)


def test_several_labels(tmp_path):
    data = dataset(tmp_path, "a.mp4 0 1\n", multi_class=True, num_classes=2)
    assert data[0]["label"].tolist() == [1, 1]


def test_what_a_sample_draws_depends_on_seed_epoch_and_sample_alone(tmp_path):
    data = dataset(tmp_path, "a.mp4 0\nb.mp4 1\n", pipeline=[lambda results: dict(drawn=np.random.rand())])

    def draw(seed, epoch, sample):
        data.seed_samples(seed, epoch)
        np.random.rand(np.random.randint(5))  # whatever came before
        return data[sample]["drawn"]

    first = draw(0, 0, 0)
    assert draw(0, 0, 0) == first
    assert len({first, draw(1, 0, 0), draw(0, 1, 0), draw(0, 0, 1)}) == 4


@pytest.mark.parametrize("epoch", [None, 3])
def test_loading_a_sample_leaves_the_random_numbers_of_the_process_alone(tmp_path, epoch):
    data = dataset(tmp_path, "a.mp4 0\n", pipeline=[lambda results: {} if epoch is None else dict(a=np.random.rand())])
    if epoch is not None:
        data.seed_samples(0, epoch)
    np.random.seed(1)
    data[0]
    assert np.random.rand() == np.random.RandomState(1).rand()


PIPELINE = [dict(type="OpenVideo"), dict(type="UniformSample", clip_len=2), dict(type="DecodeFrames"),
            dict(type="FormatShape", input_format="NCTHW"), dict(type="PackActionInputs", meta_keys=("filename",))]


def broken_set(motion_videos, tmp_path, bad=3, good=13, **kwargs):
    """A list of good videos with a text, an empty and a missing one among them, numbers 0, 5 and 10."""
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    lines = [f"{motion_videos}/{line}" for line in (motion_videos / "train.txt").read_text().splitlines()[:good]]
    for place, name in list(zip((0, 5, 10), ("text", "empty", "missing")))[:bad]:
        lines.insert(place, f"{tmp_path}/{name}.mp4 {place % 8}")
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return DATASETS.build(dict(type="ActionVideoDataset", ann_file=str(tmp_path / "list.txt"), pipeline=PIPELINE,
                               classes=str(motion_videos / "classes.txt"), **kwargs))


def inputs_of(data):
    return [data[i]["inputs"].numpy().copy() for i in range(len(data))]


def test_in_training_another_video_takes_the_place_of_an_unreadable_one(motion_videos, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(video_dataset, "print_log", lambda message, logger, level: said.append(message))
    data = broken_set(motion_videos, tmp_path, max_unreadable=3)
    data.seed_samples(0, 1)
    names = [data[i]["data_samples"].filename for i in range(len(data))]
    assert len(names) == 16 and not any("text" in name or "empty" in name or "missing" in name for name in names)
    assert data.unreadable.nonzero().flatten().tolist() == [0, 5, 10]
    assert data.unreadable_videos() == [f"{tmp_path}/{name}.mp4" for name in ("text", "empty", "missing")]
    text = next(message for message in said if "text.mp4" in message)
    assert "text.mp4 cannot be opened as a video: pyav: " in text and text.endswith(" takes its place")
    assert any(message.endswith(f"; {names[0]} takes its place") for message in said)
    assert any(f"no video at {tmp_path}/missing.mp4" in message for message in said)


def test_which_video_takes_the_place_depends_on_seed_epoch_and_sample_alone(motion_videos, tmp_path):
    data = broken_set(motion_videos, tmp_path, max_unreadable=1.0)
    data.seed_samples(0, 1)
    first = inputs_of(data)
    np.random.rand(7)
    assert all(np.array_equal(a, b) for a, b in zip(first, inputs_of(data), strict=True))
    names = set()
    for epoch in range(8):
        data.seed_samples(0, epoch)
        names.add(data[0]["data_samples"].filename)
    assert len(names) > 2


@pytest.mark.parametrize("persistent", [False, True])
def test_failures_in_workers_are_counted_in_the_main_process(motion_videos, tmp_path, persistent):
    data = broken_set(motion_videos, tmp_path, max_unreadable=0.2)
    data.seed_samples(0, 0)
    loader = DataLoader(data, batch_size=2, num_workers=2, persistent_workers=persistent, collate_fn=pseudo_collate)
    for _ in range(2):
        assert sum(len(batch["inputs"]) for batch in loader) == 16
        assert int(data.unreadable.sum()) == 3, "a video that fails in two epochs counts once"


def test_a_run_stops_when_the_budget_is_spent_and_names_some(motion_videos, tmp_path):
    for budget in (2, 0.15, 0):
        data = broken_set(motion_videos, tmp_path, max_unreadable=budget)
        data.seed_samples(0, 0)
        with pytest.raises(TooManyUnreadable, match=r"of the 16 samples of .*list.txt cannot be read, . may.*text.mp4"):
            inputs_of(data)
        assert int(data.unreadable.sum()) == int(budget * 16 if isinstance(budget, float) else budget) + 1
    data = broken_set(motion_videos, tmp_path, good=0, max_unreadable=1.0)
    with pytest.raises(TooManyUnreadable, match="3 of the 3 samples"):
        data[0]


@pytest.mark.parametrize("changes, says", [
    (dict(max_unreadable=-1), "must be a count, or a share from 0.0 to 1.0; got -1"),
    (dict(max_unreadable=1.5), "got 1.5"),
    (dict(score_unreadable=True, multi_class=True, num_classes=2), "needs one label a video"),
])
def test_settings_out_of_their_range_are_refused(tmp_path, changes, says):
    with pytest.raises(ValueError, match=says):
        dataset(tmp_path, "a.mp4 0\n", **changes)


def test_in_testing_an_unreadable_video_is_an_error_that_names_it(motion_videos, tmp_path):
    data = broken_set(motion_videos, tmp_path, test_mode=True)
    with pytest.raises(UnreadableVideo, match="text.mp4"):
        data[0]
    with pytest.raises(FileNotFoundError, match="missing.mp4"):
        data[10]


def test_missing_members_of_a_shard_are_counted_and_named(motion_videos, tmp_path):
    clip = next(iter((motion_videos / "train").iterdir()))
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        archive.add(clip, "a.mp4")
    data = dataset(tmp_path, "0.tar/a.mp4 0\n", data_prefix=dict(video=str(tmp_path)), check_files=True,
                   pipeline=PIPELINE)
    alone = dataset(tmp_path, f"{clip} 0\n", data_prefix=dict(video=""), pipeline=PIPELINE)
    for one in (data, alone):
        one.seed_samples(0, 0)
    assert data[0]["inputs"].equal(alone[0]["inputs"])
    with pytest.raises(FileNotFoundError, match="2 of 3 videos .*0.tar/b.mp4, .*1.tar/a.mp4"):
        dataset(tmp_path, "0.tar/a.mp4 0\n0.tar/b.mp4 0\n1.tar/a.mp4 0\n", data_prefix=dict(video=str(tmp_path)),
                check_files=True)


def test_a_folder_of_folders_is_a_data_set(tmp_path):
    for name in ("train/run/a.mp4", "train/jump/b.mp4", "val/jump/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [[(entry["filename"], entry["label"]) for entry in map(data.get_data_info, range(len(data)))]
             for data in (dataset(tmp_path, "", ann_file=str(tmp_path), test_mode=mode) for mode in (False, True))]
    assert found == [[(str(tmp_path / "train/jump/b.mp4"), 0), (str(tmp_path / "train/run/a.mp4"), 1)],
                     [(str(tmp_path / "val/jump/c.mp4"), 0)]]
    with pytest.raises(ValueError, match="'jump', the label of .*b.mp4, is none of the 2 classes"):
        dataset(tmp_path, "", ann_file=str(tmp_path), classes=["walk", "run"])


def test_a_csv_file_gives_stretches_and_splits(tmp_path):
    (tmp_path / "list.csv").write_text("video,label,start,end,split\nv.mp4,run,1,2,train\nv.mp4,jump,2,,val\n")
    data = dataset(tmp_path, "", ann_file=str(tmp_path / "list.csv"))
    assert [data.get_data_info(i) for i in range(len(data))][0].items() >= dict(
        filename=str(tmp_path / "v.mp4"), label=1, start=1.0, end=2.0).items() and len(data) == 1
    with pytest.raises(ValueError, match="stand in a list of numbers"):
        dataset(tmp_path, "", ann_file=str(tmp_path / "list.csv"), multi_class=True, num_classes=2)


@pytest.mark.parametrize("split, test_mode", [("train", True), ("val", False)])
def test_a_csv_file_without_clips_of_a_split_is_named(split, test_mode, tmp_path):
    """A list of which nothing was held out ended in "need at least one array to concatenate"."""
    (tmp_path / "list.csv").write_text(f"video,label,split\nv.mp4,run,{split}\nv.mp4,jump,{split}\n")
    with pytest.raises(ValueError, match=f"list.csv has no clips of the split {'val' if test_mode else 'train'}"):
        dataset(tmp_path, "", ann_file=str(tmp_path / "list.csv"), test_mode=test_mode)
