"""Each workaround of ``claver_mm.compat``: the defect in the stock packages, and its absence here.

The functions before ``__main__`` are acts of a user of the host. Run as a program, this file performs them on
the stock packages, without ``claver_mm``, and prints what came of each; the tests perform the same acts with
the workarounds.
"""
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmaction.utils import dependency
from mmengine.dataset import pseudo_collate
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import CheckpointLoader, Runner
from torch import nn

ORANGE = (250, 120, 10)
"""A colour, RGB, that shows when red and blue are swapped."""
CLASSES = ("jump", "run", "walk")


def import_models() -> None:
    import mmaction.models  # noqa: F401


def import_vindlu() -> None:
    import mmaction
    path = Path(mmaction.__path__[0], "models/multimodal/vindlu/modeling_bert.py")
    spec = importlib.util.spec_from_file_location("modeling_bert", path)  # alone: its package registers on the way
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def shift_hue_down() -> None:
    import mmaction.datasets  # noqa: F401
    from mmaction.registry import TRANSFORMS
    jitter = TRANSFORMS.build(dict(type="ColorJitter", hue=(-0.2, -0.1)))
    jitter(dict(imgs=[np.full((4, 4, 3), ORANGE, np.uint8)]))


def load_checkpoint(path: str) -> dict:
    return CheckpointLoader.load_checkpoint(path, map_location="cpu")


def build_amp_wrapper(**kwargs):
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, OPTIM_WRAPPERS.build(dict(type="AmpOptimWrapper", optimizer=optimizer, **kwargs))


def score_in_bfloat16() -> None:
    drn = SimpleNamespace(DRN=None)  # the stock wheel's first defect would hide this one
    for name in ("mmaction.models.localizers.drn", "mmaction.models.localizers.drn.drn"):
        sys.modules.setdefault(name, drn)
    dependency.WITH_MULTIMODAL = False  # so would the second
    from mmaction.models.heads import TSNHead
    head = TSNHead(num_classes=3, in_channels=4, loss_cls=dict(type="mmaction.CrossEntropyLoss"))
    losses = head.loss_by_feat(torch.zeros(1, 3, dtype=torch.bfloat16, requires_grad=True), [sample_of_three_classes()])
    assert torch.isfinite(losses["loss_cls"])


def launch_on_cpu() -> None:
    from mmengine.dist import init_dist
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29577")
    init_dist("pytorch", backend="gloo")


def sample_of_three_classes():
    from mmaction.structures import ActionDataSample
    return ActionDataSample().set_gt_label(1).set_pred_score([0.1, 0.2, 0.7]).set_pred_label(2)


def draw_a_test_batch(out_dir: str | None = None) -> None:
    import mmaction.engine.hooks  # noqa: F401
    import mmaction.visualization  # noqa: F401
    from mmaction.registry import HOOKS, VISUALIZERS
    VISUALIZERS.build(dict(type="ActionVisualizer", name="of_the_hook"))
    hook = HOOKS.build(dict(type="VisualizationHook", enable=True, interval=1, out_dir=out_dir))
    clip = torch.tensor(ORANGE, dtype=torch.uint8).view(1, 3, 1, 1, 1).expand(2, 3, 3, 48, 64)
    for batch_idx, batch_size in enumerate((2, 1)):
        samples = [sample_of_three_classes() for _ in range(batch_size)]
        hook._draw_samples(batch_idx, dict(inputs=[clip] * batch_size), samples)


def draw_labels() -> None:
    import mmaction.visualization  # noqa: F401
    from mmaction.registry import VISUALIZERS
    visualizer = VISUALIZERS.build(dict(type="ActionVisualizer", name="of_labels"))
    visualizer.dataset_meta = dict(classes=CLASSES)
    drawn = []
    visualizer.draw_texts = lambda text, **kwargs: drawn.append(text)
    visualizer.add_datasample("clip", np.zeros((1, 48, 64, 3), np.uint8), sample_of_three_classes())
    assert "Ground truth: 1 (run)" in drawn[0], drawn
    assert "Prediction: 2, 0.70 (walk)" in drawn[0], drawn


def draw_a_folder_of_frames() -> None:
    import mmaction.visualization  # noqa: F401
    from mmaction.registry import VISUALIZERS
    visualizer = VISUALIZERS.build(dict(type="ActionVisualizer", name="of_a_folder"))
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "frames").mkdir()
        cv2.imwrite(f"{root}/frames/0.png", np.full((48, 64, 3), ORANGE[::-1], np.uint8))
        visualizer.add_datasample("clip", f"{root}/frames", out_path=f"{root}/drawn")
        assert_orange(f"{root}/drawn/frames_0/0.png")


def assert_orange(path: str) -> None:
    """Checks the last pixel, which no text covers."""
    assert cv2.imread(path)[-1, -1].tolist() == list(ORANGE[::-1])


STOCK_ACTS = (import_models, shift_hue_down, build_amp_wrapper, draw_a_test_batch, draw_labels,
              draw_a_folder_of_frames, score_in_bfloat16, import_vindlu, launch_on_cpu)


def outcome(act, *args) -> str:
    try:
        act(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "works"


if __name__ == "__main__":
    outcomes = {act.__name__: outcome(act) for act in STOCK_ACTS}
    outcomes[load_checkpoint.__name__] = outcome(load_checkpoint, sys.argv[1])
    assert "claver_mm" not in sys.modules
    print(json.dumps(outcomes))
    sys.exit()


compat = importlib.import_module("claver_mm.compat")


class ToyRecognizer(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, inputs, data_samples, mode="tensor"):
        scores = self.fc(torch.stack(inputs).float().mean(dim=(1, 3, 4, 5)) / 255)  # (B, views, 3, T, H, W)
        if mode == "loss":
            labels = torch.cat([sample.gt_label for sample in data_samples])
            return dict(loss=nn.functional.cross_entropy(scores, labels))
        for sample, score in zip(data_samples, scores, strict=True):
            sample.set_pred_score(score.softmax(-1)).set_pred_label(score.argmax(-1, keepdim=True))
        return data_samples


def toy_runner(work_dir: Path, name: str, *, max_epochs: int = 2, **kwargs) -> Runner:
    """A runner of the host on three tiny clips, with the parts of a checkpoint that are more than tensors."""
    from mmaction.structures import ActionDataSample
    clips = [dict(inputs=torch.full((1, 3, 2, 48, 64), 80 * i, dtype=torch.uint8),
                  data_samples=ActionDataSample().set_gt_label(i)) for i in range(3)]

    def loader():
        return torch.utils.data.DataLoader(clips, batch_size=2, collate_fn=pseudo_collate)

    return Runner(
        model=ToyRecognizer(), work_dir=str(work_dir), experiment_name=name, default_scope="mmaction",
        train_dataloader=loader(), val_dataloader=loader(), test_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs), val_cfg={}, test_cfg={},
        val_evaluator=dict(type="AccMetric"), test_evaluator=dict(type="AccMetric"),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        param_scheduler=[dict(type="MultiStepLR", milestones=[1]),
                         dict(type="OneCycleLR", eta_max=0.1, total_steps=20, by_epoch=False)],
        visualizer=dict(type="ActionVisualizer"), log_level="ERROR", **kwargs)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    """A checkpoint as MMEngine writes it after training and validation."""
    work_dir = tmp_path_factory.mktemp("train")
    toy_runner(work_dir, "compat_train", default_hooks=dict(
        checkpoint=dict(type="CheckpointHook", save_best="auto"))).train()
    return str(work_dir / "epoch_2.pth")


@pytest.fixture(scope="module")
def stock(checkpoint) -> dict[str, str]:
    """What comes of each act on the stock packages, in a process of its own."""
    child = subprocess.run([sys.executable, __file__, checkpoint], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


def assert_stock_fails(stock, act, error: str) -> None:
    if stock[act.__name__] == "works":
        pytest.skip(f"{act.__name__} works upstream: the remedy is superfluous")
    assert stock[act.__name__].startswith(error)


def load(obj) -> object:
    """Save an object as torch does, and load it as MMEngine does: without ``weights_only``."""
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    buffer.seek(0)
    return torch.load(buffer)


class Call:
    """Pickles as a call, which an unrestricted load would carry out."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def test_stock_models_lack_drn(stock):
    """mmaction2 issue 2714."""
    assert_stock_fails(stock, import_models, "ModuleNotFoundError: No module named 'mmaction.models")


def test_models_import():
    import_models()


def test_stock_vindlu_cannot_be_imported_beside_transformers_5(stock):
    """multimodal/vindlu/modeling_bert.py:44."""
    pytest.importorskip("transformers", minversion="5")
    assert_stock_fails(stock, import_vindlu, "ImportError: cannot import name")


def test_vindlu_becomes_a_placeholder_beside_transformers_5():
    pytest.importorskip("transformers", minversion="5")
    from mmaction.registry import MODELS
    with pytest.raises(ImportError, match="requires extra multi-modal dependencies"):
        MODELS.build(dict(type="VindLUVQA"))


def test_a_real_drn_is_not_hidden(tmp_path, monkeypatch):
    import mmaction
    (tmp_path / "models/localizers/drn").mkdir(parents=True)
    monkeypatch.setattr(mmaction, "__path__", [str(tmp_path)])
    for name in ("mmaction.models.localizers.drn", "mmaction.models.localizers.drn.drn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    compat.stub_drn()
    assert "mmaction.models.localizers.drn" not in sys.modules


def test_stock_color_jitter_fails_on_numpy2(stock):
    """processing.py:979 adds a negative int to uint8."""
    assert_stock_fails(stock, shift_hue_down, "OverflowError")


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


def test_stock_torch_load_refuses_mmengine_checkpoints(stock):
    """mmengine issue 1655: weights_only is the default since torch 2.6."""
    assert_stock_fails(stock, load_checkpoint, "UnpicklingError")


def test_mmengine_checkpoint_loads(checkpoint):
    loaded = load_checkpoint(checkpoint)
    log = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(log, HistoryBuffer)
    assert log.statistics("mean") == pytest.approx(log.data[0].mean())
    assert loaded["param_schedulers"][1]["anneal_func"] is OneCycleParamScheduler._annealing_cos


def test_training_resumes(checkpoint, tmp_path):
    runner = toy_runner(tmp_path, "compat_resume", max_epochs=3, resume=True, load_from=checkpoint)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 6)
    assert len(runner.message_hub.get_scalar("train/loss").data[0]) == 6


def test_checkpoint_written_under_numpy1_loads():
    """NumPy 1 pickled its functions under numpy.core; pickles of the old format are plain bytes."""
    buffer = io.BytesIO()
    torch.save([HistoryBuffer([0.5], [1]), np.float32(2)], buffer, _use_new_zipfile_serialization=False)
    old = buffer.getvalue().replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in old
    log, number = torch.load(io.BytesIO(old))
    assert (log.current(), number) == (0.5, 2)


@pytest.mark.parametrize("owner, name", [
    (HistoryBuffer, "register_statistics"),
    (HistoryBuffer, "__init__"),
    (HistoryBuffer.mean, "__globals__"),
    (OneCycleParamScheduler, "__init__"),
    (np.ndarray, "tofile"),
    ([], "append"),
])
def test_crafted_getattr_is_refused(owner, name):
    with pytest.raises(pickle.UnpicklingError, match="may not look up"):
        load(Call(getattr, owner, name))


@pytest.mark.parametrize("function", [os.mkdir, Path, eval, __import__, np.load])
def test_arbitrary_global_is_refused(function, tmp_path):
    with pytest.raises(pickle.UnpicklingError):
        load(Call(function, str(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


def test_checkpoint_cannot_build_a_scheduler():
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        load(Call(OneCycleParamScheduler, None, "lr"))


def test_stock_amp_wrapper_fails_without_accelerator(stock):
    """amp_optimizer_wrapper.py:76."""
    assert_stock_fails(stock, build_amp_wrapper, "AssertionError")


without_accelerator = pytest.mark.skipif(
    OPTIM_WRAPPERS.get("AmpOptimWrapper") is not compat.AutocastOptimWrapper,
    reason="the stock wrapper is in place")


@without_accelerator
@pytest.mark.parametrize("dtype", [None, "bfloat16", torch.bfloat16])
def test_amp_trains_in_bfloat16_on_the_cpu(dtype):
    model, wrapper = build_amp_wrapper(dtype=dtype, loss_scale="dynamic", clip_grad=dict(max_norm=1.0))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    wrapper.update_params(out.float().sum())
    assert out.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


@without_accelerator
@pytest.mark.parametrize("argument, way_out", [
    (dict(dtype="float16"), "bfloat16"),
    (dict(loss_scale=512.0), "dynamic"),
    (dict(loss_scale=dict(init_scale=512.0)), "dynamic"),
    (dict(use_fsdp=True), "False"),
])
def test_amp_argument_that_needs_an_accelerator_is_refused(argument, way_out):
    with pytest.raises(ValueError, match=f"needs an accelerator.*set '?{way_out}"):
        build_amp_wrapper(**argument)


@without_accelerator
def test_amp_state_with_a_loss_scale_loads_on_the_cpu():
    _, wrapper = build_amp_wrapper()
    state = wrapper.state_dict() | dict(loss_scaler=dict(scale=512.0))
    state["param_groups"][0]["lr"] = 0.5
    wrapper.load_state_dict(state)
    assert wrapper.get_lr()["lr"] == [0.5]


def test_stock_heads_fail_in_bfloat16(stock):
    assert_stock_fails(stock, score_in_bfloat16, "TypeError: Got unsupported ScalarType BFloat16")


def test_stock_heads_train_in_bfloat16():
    score_in_bfloat16()


def test_stock_launch_needs_cuda(stock):
    """``ClaverRunner`` starts gloo instead; tests/test_tools.py trains and tests two such processes."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert_stock_fails(stock, launch_on_cpu, "RuntimeError")


def test_stock_visualization_hook_raises(stock):
    """visualization_hook.py:81 permutes a clip with views as if it had none."""
    assert_stock_fails(stock, draw_a_test_batch, "RuntimeError")


def test_visualization_hook_writes_every_frame_of_every_sample(tmp_path):
    """Also a last batch that is smaller, whose samples upstream numbers like earlier ones."""
    draw_a_test_batch(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0_0", "1_0", "2_0"]
    for path in tmp_path.iterdir():
        assert len(list(path.glob("frames_0/*.png"))) == 6
        assert_orange(str(path / "frames_0/5.png"))


def test_visualization_works_in_a_test_run(checkpoint, tmp_path):
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


def test_stock_visualizer_draws_no_labels(stock):
    """mmaction2 pull request 2859."""
    assert_stock_fails(stock, draw_labels, "AssertionError: ['Frame 0 of total 1 frames']")


def test_visualizer_draws_labels():
    draw_labels()


def test_multi_label_target_is_drawn_as_its_classes():
    from mmaction.structures import ActionDataSample
    old = compat.under_old_names(ActionDataSample().set_gt_label(torch.tensor([1.0, 0.0, 1.0])))
    assert old.gt_label.tolist() == [0, 2]


def test_stock_visualizer_swaps_red_and_blue_in_images_of_a_file(stock):
    """action_visualizer.py:121,125 reads BGR, video_backend.py:51 writes from RGB."""
    assert_stock_fails(stock, draw_a_folder_of_frames, "AssertionError")


def test_images_of_a_file_keep_their_colours():
    draw_a_folder_of_frames()


def test_remedies_are_registered_once_and_stay():
    """Applying all remedies again, as a second import would, leaves the registries as they are."""
    from mmaction.registry import HOOKS, TRANSFORMS, VISUALIZERS
    names = ((TRANSFORMS, "ColorJitter"), (HOOKS, "VisualizationHook"), (VISUALIZERS, "ActionVisualizer"),
             (OPTIM_WRAPPERS, "AmpOptimWrapper"))
    from mmaction.models.heads import BaseHead
    before = [registry.get(name) for registry, name in names] + [BaseHead.loss_by_feat]
    for remedy in (compat.stub_drn, compat.mend_color_jitter, compat.allow_mmengine_checkpoints,
                   compat.offer_amp_without_accelerator, compat.mend_bfloat16_heads,
                   compat.mend_visualization_hook, compat.mend_visualizer):
        remedy()
    assert [registry.get(name) for registry, name in names] + [BaseHead.loss_by_feat] == before
