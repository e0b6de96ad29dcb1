"""What data sets and pipelines take from the rest of a config."""
import pytest
from toy import TINY

from claver_mm.settings import complete


def pipeline(**sampler):
    return [dict(type="UniformSample", **sampler), dict(type="FormatShape", input_format="NCTHW")]


def config(**changes):
    return dict(
        model=dict(type="CLAVERRecognizer", arch=TINY, num_frames=8, classes=["run", "jump"]),
        clip_len=8, train_pipeline=pipeline(clip_len=8), data_root="data/x",
        train_videos=dict(ann_file="{data_root}/train.txt", data_prefix=dict(video="{data_root}/videos")),
        train_dataloader=dict(dataset=dict(type="ActionVideoDataset"))) | changes


def test_a_data_set_takes_files_steps_and_classes():
    dataset = complete(config(data_root="/my data"))["train_dataloader"]["dataset"]
    assert dataset == dict(type="ActionVideoDataset", ann_file="/my data/train.txt", pipeline=pipeline(clip_len=8),
                           data_prefix=dict(video="/my data/videos"), classes=["run", "jump"])


def test_what_a_data_set_says_itself_stays():
    own = dict(type="ActionVideoDataset", ann_file="list.txt", data_prefix={}, classes=["a"],
               pipeline=pipeline(clip_len=8))
    assert complete(config(train_dataloader=dict(dataset=own)))["train_dataloader"]["dataset"] == own


def test_a_wrapped_data_set_is_reached_and_other_types_get_no_classes():
    inner = dict(type="VideoDataset", ann_file="a", pipeline=pipeline(clip_len=8))
    cfg = complete(config(train_dataloader=dict(dataset=dict(type="RepeatDataset", times=2, dataset=inner))))
    assert "classes" not in cfg["train_dataloader"]["dataset"]["dataset"]
    assert cfg["train_dataloader"]["dataset"]["dataset"]["data_prefix"] == dict(video="data/x/videos")


def test_pipelines_follow_the_frames_of_the_model():
    """``neck.num_frames`` other than the pipeline's frames trained without a word."""
    cfg = config()
    cfg["model"]["num_frames"] = 16
    whole = complete(cfg)
    assert whole["train_dataloader"]["dataset"]["pipeline"] == pipeline(clip_len=16) == whole["train_pipeline"]
    assert complete(whole) == whole and cfg["train_pipeline"] == pipeline(clip_len=8)


def test_a_step_without_clip_len_gets_it():
    assert complete(config(train_pipeline=pipeline(), clip_len=None))["train_pipeline"] == pipeline(clip_len=8)


@pytest.mark.parametrize("change, says", [
    (dict(train_pipeline=pipeline(clip_len=4)), "train_pipeline.0.clip_len is 4, model.neck.num_frames is 8"),
    (dict(clip_len=16), "clip_len=16 at the top .* said in model.num_frames, here 8"),
    (dict(data_root=None), "'{data_root}/train.txt' lies below data_root, and the config has none"),
    (dict(num_frames=16), "nothing reads 'num_frames' at the top of a config; did you mean model.num_frames"),
    (dict(train_dataloader=dict(dataset=dict(type="ActionVideoDataset", pipeline=pipeline(clip_len=8, num_clips=2)))),
     "train_pipeline and train_dataloader.dataset.pipeline differ"),
])
def test_what_disagrees_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        complete(config(**change))


def test_frames_of_a_2d_recogniser_that_do_not_make_clips_are_refused_before_training():
    """25 test frames and a neck of 8 stopped the run at its first test."""
    steps = [dict(type="SampleFrames", clip_len=1, num_clips=25), dict(type="FormatShape", input_format="NCHW")]
    model = dict(type="Recognizer2DWithNeck", backbone=dict(type="ResNet"), neck=dict(type="KMTNeck", in_channels=4))
    test = dict(dataset=dict(type="VideoDataset", pipeline=steps))
    with pytest.raises(ValueError, match="takes 25 frames of a video, model.neck.num_frames is 8"):
        complete(dict(model=model, test_dataloader=test))
    steps[0]["num_clips"] = 24
    assert complete(dict(model=model, test_dataloader=test))["test_dataloader"] == test


def test_a_backbone_that_may_pool_over_time_is_left_alone():
    model = dict(type="Recognizer3D", backbone=dict(type="ResNet3d"), neck=dict(type="KMTNeck", num_frames=8))
    cfg = dict(model=model, train_dataloader=dict(dataset=dict(type="VideoDataset", pipeline=pipeline(clip_len=32))))
    assert complete(cfg) == cfg
