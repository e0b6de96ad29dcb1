"""Annotation lists: what is wrong is named before a run starts."""
import numpy as np
import pytest
from mmaction.registry import DATASETS


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


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no annotation list at .*nowhere.txt"):
        dataset(tmp_path, "a.mp4 0\n", ann_file=str(tmp_path / "nowhere.txt"))


def test_missing_videos_are_counted_and_named(tmp_path):
    """The published code drops missing files without a word."""
    (tmp_path / "here.mp4").touch()
    with pytest.raises(FileNotFoundError, match="2 of 3 videos .*gone.mp4"):
        dataset(tmp_path, "here.mp4 0\ngone.mp4 1\nlost.mp4 1\n", data_prefix=dict(video=str(tmp_path)),
                check_files=True)


def test_a_repeated_video_draws_anew_each_time(tmp_path):
    """Under ``RepeatDataset`` all its copies would draw the same, since they share a number."""
    data = dataset(tmp_path, "a.mp4 0\nb.mp4 1\n", pipeline=[lambda results: dict(drawn=np.random.rand())], times=3)
    data.set_epoch(0, 0)
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
        data.set_epoch(seed, epoch)
        np.random.rand(np.random.randint(5))  # whatever came before
        return data[sample]["drawn"]

    first = draw(0, 0, 0)
    assert draw(0, 0, 0) == first
    assert len({first, draw(1, 0, 0), draw(0, 1, 0), draw(0, 0, 1)}) == 4


@pytest.mark.parametrize("epoch", [None, 3])
def test_loading_a_sample_leaves_the_random_numbers_of_the_process_alone(tmp_path, epoch):
    data = dataset(tmp_path, "a.mp4 0\n", pipeline=[lambda results: {} if epoch is None else dict(a=np.random.rand())])
    if epoch is not None:
        data.set_epoch(0, epoch)
    np.random.seed(1)
    data[0]
    assert np.random.rand() == np.random.RandomState(1).rand()
