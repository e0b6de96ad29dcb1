"""Colours, frames and labels: jitter, visualisation hook, visualiser."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from acts import assert_orange, draw_a_folder_of_frames, draw_a_test_batch, draw_labels, shift_hue_down
from mmaction.structures import ActionDataSample

from claver_mm import compat


def test_stock_color_jitter_fails_on_numpy2(assert_stock_fails):
    """processing.py:979 adds a negative int to uint8."""
    assert_stock_fails(shift_hue_down, "OverflowError")


def test_color_jitter_shifts_the_hue_down():
    shift_hue_down()
    red = np.full((1, 1, 3), (255, 0, 0), np.float32)
    blue = compat.Int16HueColorJitter.adjust_hue(red, -60 / 255)  # 60 of 180 steps: a third of the circle
    assert blue.tolist() == [[[0, 0, 255]]]
    assert blue.dtype == np.float32


def test_color_jitter_equals_upstream_where_that_works():
    frame = np.random.default_rng(0).uniform(-20, 280, (9, 7, 3)).astype(np.float32)
    ours, stock = (cls.adjust_hue(frame, 0.25) for cls in (compat.Int16HueColorJitter, compat.ColorJitter))
    np.testing.assert_array_equal(ours, stock)


def test_stock_visualization_hook_raises(assert_stock_fails):
    """visualization_hook.py:81 permutes a clip with views as if it had none."""
    assert_stock_fails(draw_a_test_batch, "RuntimeError")


def test_visualization_hook_writes_every_frame_of_every_sample(tmp_path):
    """Also a last batch that is smaller, whose samples upstream numbers like earlier ones."""
    draw_a_test_batch(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0_0", "1_0", "2_0"]
    for path in tmp_path.iterdir():
        assert len(list(path.glob("frames_0/*.png"))) == 6
        assert_orange(str(path / "frames_0/5.png"))


def test_a_second_test_numbers_its_samples_anew():
    hook, names = compat.FrameVisualizationHook(enable=True, interval=1), []
    hook._visualizer = SimpleNamespace(add_datasample=lambda name, *args, **kwargs: names.append(name))
    clip = torch.zeros(1, 3, 2, 4, 4, dtype=torch.uint8)
    for batch_idx, batch_size in ((0, 2), (1, 1), (0, 2)):
        hook._draw_samples(batch_idx, dict(inputs=[clip] * batch_size), [ActionDataSample()] * batch_size)
    assert names == ["0", "1", "2", "0", "1"]


def test_visualization_works_in_a_test_run(toy_runner, checkpoint, tmp_path):
    hook = dict(type="VisualizationHook", enable=True, interval=2, show=False, wait_time=2,
                out_dir=str(tmp_path / "out"))
    toy_runner(tmp_path, "compat_test", load_from=checkpoint, default_hooks=dict(visualization=hook)).test()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0_0", "2_0"]


def test_frames_follow_the_order_of_views():
    inputs = torch.arange(2 * 2, dtype=torch.uint8).view(2, 1, 2, 1, 1).expand(2, 3, 2, 4, 5)
    frames = compat.frames_of(inputs)
    assert frames.shape == (4, 4, 5, 3)
    assert frames[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(compat.frames_of(inputs.transpose(1, 2).flatten(0, 1)), frames)


@pytest.mark.parametrize("inputs", [
    torch.zeros(1, 3, 2, 4, 4), torch.zeros(1, 17, 2, 4, 4, dtype=torch.uint8), "key"])
def test_inputs_that_are_no_frames_are_refused(inputs):
    with pytest.raises(ValueError, match="draws uint8 frames"):
        compat.frames_of(inputs)


@pytest.mark.parametrize("argument", [dict(show=True), dict(out_type="gif"), dict(out_type="video")])
def test_output_with_red_and_blue_swapped_is_refused(argument):
    """video_backend.py:62 and action_visualizer.py:272 reverse the channels of RGB frames."""
    with pytest.raises(ValueError, match="swaps red and blue"):
        compat.FrameVisualizationHook(**argument)


def test_stock_visualizer_draws_no_labels(assert_stock_fails):
    """mmaction2 pull request 2859."""
    assert_stock_fails(draw_labels, "AssertionError: ['Frame 0 of total 1 frames']")


def test_visualizer_draws_labels():
    draw_labels()


def test_multi_label_target_is_drawn_as_its_classes():
    old = compat.under_old_names(ActionDataSample().set_gt_label(torch.tensor([1.0, 0.0, 1.0])))
    assert old.gt_label.tolist() == [0, 2]


def test_stock_visualizer_swaps_red_and_blue_in_images_of_a_file(assert_stock_fails):
    """action_visualizer.py:121,125 reads BGR, video_backend.py:51 writes from RGB."""
    assert_stock_fails(draw_a_folder_of_frames, "AssertionError")


def test_images_of_a_file_keep_their_colours():
    draw_a_folder_of_frames()
