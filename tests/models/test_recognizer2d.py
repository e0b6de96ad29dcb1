"""A neck between the frames and the head of a 2D recogniser."""
import pytest
import torch
from mmaction.registry import MODELS


def recogniser(kind="Recognizer2DWithNeck", test_cfg=None, neck=True):
    return MODELS.build(dict(
        type=kind, test_cfg=test_cfg,
        data_preprocessor=dict(type="ActionDataPreprocessor", format_shape="NCHW"),
        backbone=dict(type="ResNet", depth=18, pretrained=None, norm_eval=False),
        neck=dict(type="KMTNeck", in_channels=512, embed_dims=64, num_frames=4, depth=1) if neck else None,
        cls_head=dict(type="TSNHead", num_classes=8, in_channels=512, average_clips="prob"))).eval()


@pytest.fixture(scope="module")
def model():
    return recogniser()


def test_the_head_averages_over_the_frames_that_the_neck_gives_back(model):
    frames = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        feats, kwargs = model.extract_feat(frames, test_mode=True)
        maps, _ = model.extract_feat(frames, stage="backbone", test_mode=True)
        assert feats.shape == (8, 512, 1, 1) and kwargs["num_segs"] == 4
        assert torch.allclose(feats, model.neck(maps)[0], atol=1e-6)
        assert model.cls_head(feats, **kwargs).shape == (2, 8)


def test_the_neck_learns(model):
    feats, _ = model.extract_feat(torch.randn(1, 4, 3, 32, 32))
    feats.square().sum().backward()
    assert model.neck.project[1].weight.grad.abs().sum() > 0


def test_views_may_be_tested_a_few_at_a_time(model):
    """The stock class fails: ``backbone.get`` does not exist."""
    frames = torch.randn(1, 12, 3, 32, 32)
    few = recogniser(test_cfg=dict(max_testing_views=4))
    few.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected, _ = model.extract_feat(frames, test_mode=True)
        assert torch.allclose(few.extract_feat(frames, test_mode=True)[0], expected, atol=1e-5)
        with pytest.raises(AttributeError, match="get"):
            recogniser("Recognizer2D", dict(max_testing_views=4), neck=False).extract_feat(frames, test_mode=True)


def test_fully_convolutional_tests_are_refused():
    """Backbones without ``num_segments`` raised an ``AttributeError`` of the stock class first."""
    with pytest.raises(ValueError, match="fcn_test is not available with a temporal neck"):
        recogniser(test_cfg=dict(fcn_test=True))


def test_without_a_neck_the_stock_class_is_named():
    with pytest.raises(ValueError, match="use Recognizer2D without one"):
        recogniser(neck=False)
