"""Views of a test pipeline."""
import pytest
from mmengine.config import Config
from toy import ROOT

from claver_mm.protocols.views import parse_views, read_views, with_views


def pipeline(name):
    return Config.fromfile(ROOT / "configs/claver_b16_k400.py")[name]


def test_views_are_read_from_the_pipeline():
    assert read_views(pipeline("test_pipeline")) == (4, 3) and read_views(pipeline("val_pipeline")) == (1, 1)


@pytest.mark.parametrize("name", ["test_pipeline", "val_pipeline"])
@pytest.mark.parametrize("views", ["1x1", "4x3", "10x1"])
def test_views_are_set_in_a_copy(name, views):
    given = pipeline(name)
    changed = with_views(given, *parse_views(views))
    assert read_views(changed) == parse_views(views) and given == pipeline(name)
    crop = next(step for step in changed if "Crop" in step["type"])
    resize = next(step for step in changed if step["type"] == "Resize")
    assert crop["type"] != "ThreeCrop" or resize["scale"] == (-1, crop["crop_size"])


def test_unknown_views_are_named():
    for views, says in (("4", "'4' are not clips x crops"), ("4x2", "4x2: at least 1 clip, and 1"), ("0x3", "0x3")):
        with pytest.raises(ValueError, match=says):
            with_views(pipeline("test_pipeline"), *parse_views(views))
    with pytest.raises(ValueError, match="has 1 steps that sample frames and 0 of"):
        read_views(pipeline("test_pipeline")[:3])
    with pytest.raises(ValueError, match="three crops need a Resize"):
        with_views([step for step in pipeline("val_pipeline") if step["type"] != "Resize"], 1, 3)
