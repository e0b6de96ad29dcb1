"""What users of the host do, and what comes of it.

Run as a program, this file does it all on the stock packages, without ``claver_mm``, and prints what came of each; the
tests do the same with the workarounds of ``claver_mm.compat``.
"""
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from mmaction.utils import dependency
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import CheckpointLoader
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
