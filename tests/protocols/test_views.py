"""Views of a pipeline: one reader, and all who ask it."""
import copy

import pytest
from mmaction.datasets.transforms import ThreeCrop
from mmengine.config import Config
from toy import ROOT

from claver_mm import cost_report
from claver_mm.engine.record import test_views as recorded_views
from claver_mm.protocols.views import View, parse_views, pipeline_of, read_view, read_views, with_frames, with_views


def pipeline(name, config="claver_b16_k400"):
    return Config.fromfile(ROOT / f"configs/{config}.py")[name]


def test_views_are_read_from_the_pipeline():
    assert read_view(pipeline("test_pipeline")) == View(4, 3, 8, (224, 224), "NCTHW")
    assert read_views(pipeline("test_pipeline")) == (4, 3) and read_views(pipeline("val_pipeline")) == (1, 1)
    assert read_view(pipeline("train_pipeline")) == View(1, 1, 8, (224, 224), "NCTHW")


@pytest.mark.parametrize("name", ["ThreeCrop", "mmaction.ThreeCrop", ThreeCrop], ids=str)
def test_all_readers_see_the_same_views_of_a_pipeline(name):
    """For ``mmaction.ThreeCrop`` one refused, the run's record said 3 crops, the table of costs 1."""
    steps = [dict(step) for step in pipeline("test_pipeline")]
    steps[4]["type"] = name
    dataset = dict(type="ConcatDataset", datasets=[dict(type="RepeatDataset", dataset=dict(pipeline=steps))])
    cfg = Config(dict(test_dataloader=dict(dataset=dataset)))
    assert read_views(pipeline_of(dataset)) == (4, 3)
    assert recorded_views(cfg) == dict(clips=4, crops=3, frames=8)
    assert cost_report.view_of(cfg, "test") == View(4, 3, 8, (224, 224), "NCTHW")
    assert read_views(with_views(steps, 2, 1)) == (2, 1)


def test_segments_of_a_two_dimensional_recogniser_are_the_frames_of_one_view():
    """The run's record called them 8 clips of one frame, the table of costs one clip of 8."""
    cfg = Config.fromfile(ROOT / "configs/tsn_r50_kmt_k400.py")
    view = read_view(cfg.test_pipeline)
    assert view == View(1, 10, 8, (224, 224), "NCHW")
    assert recorded_views(cfg) == dict(clips=1, crops=10, frames=8)
    assert read_view(with_frames(cfg.test_pipeline, 16)) == view._replace(frames=16)
    with pytest.raises(ValueError, match="the clips are the frames of one view"):
        with_views(cfg.test_pipeline, 4, 3)


@pytest.mark.parametrize("name", ["test_pipeline", "val_pipeline"])
@pytest.mark.parametrize("views", ["1x1", "4x3", "10x1"])
def test_views_are_set_in_a_copy(name, views):
    given = pipeline(name)
    changed = with_views(given, *parse_views(views))
    assert read_views(changed) == parse_views(views) and given == pipeline(name)
    crop = next(step for step in changed if "Crop" in step["type"])
    resize = next(step for step in changed if step["type"] == "Resize")
    assert crop["type"] != "ThreeCrop" or resize["scale"] == (-1, crop["crop_size"])


def test_frames_are_set_in_a_copy():
    given = pipeline("test_pipeline")
    assert read_view(with_frames(given, 32)) == read_view(given)._replace(frames=32)
    assert given == pipeline("test_pipeline")
    segments = [dict(type="SampleFrames", clip_len=3, num_clips=2), dict(type="FormatShape", input_format="NCHW")]
    with pytest.raises(ValueError, match="8 frames are no multiple of the 3 that SampleFrames"):
        with_frames(segments, 8)


def test_unknown_views_are_named():
    for views, says in (("4", "'4' are not clips x crops"), ("4x2", "4x2: at least 1 clip, and 1"), ("0x3", "0x3")):
        with pytest.raises(ValueError, match=says):
            with_views(pipeline("test_pipeline"), *parse_views(views))
    with pytest.raises(ValueError, match="has 0 steps of CenterCrop, ThreeCrop"):
        with_views(pipeline("test_pipeline")[:3], 1, 3)
    with pytest.raises(ValueError, match="three crops need a Resize"):
        with_views([step for step in pipeline("val_pipeline") if step["type"] != "Resize"], 1, 3)


@pytest.mark.parametrize("change, says", [
    (lambda steps: steps.pop(1), "has 0 steps that sample frames"),
    (lambda steps: steps.insert(1, dict(steps[1])), "has 2 steps that sample frames"),
    (lambda steps: steps[4].update(type="FiveCrop"), "makes of a frame with FiveCrop is not known"),
    (lambda steps: steps.append(dict(steps[4])), "several steps of many crops")])
def test_a_pipeline_whose_views_are_not_known_is_refused_and_recorded_as_such(change, says):
    steps = [copy.deepcopy(dict(step)) for step in pipeline("test_pipeline")]
    change(steps)
    with pytest.raises(ValueError, match=says):
        read_views(steps)
    assert says in recorded_views(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))["unknown"]


def test_a_data_set_without_a_pipeline_is_named():
    with pytest.raises(ValueError, match="the data set 'RepeatDataset' has no pipeline"):
        pipeline_of(dict(type="RepeatDataset", dataset=dict(type="VideoDataset")))
