"""A small run of the host, its checkpoint, and what comes of the acts on the stock packages."""
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import acts
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn


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


def _toy_runner(work_dir: Path, name: str, *, max_epochs: int = 2, **kwargs) -> Runner:
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


@pytest.fixture(scope="session")
def toy_runner() -> Callable[..., Runner]:
    return _toy_runner


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> str:
    """A checkpoint as MMEngine writes it after training and validation."""
    work_dir = tmp_path_factory.mktemp("train")
    _toy_runner(work_dir, "compat_train", default_hooks=dict(
        checkpoint=dict(type="CheckpointHook", save_best="auto"))).train()
    return str(work_dir / "epoch_2.pth")


@pytest.fixture(scope="session")
def stock(checkpoint) -> dict[str, str]:
    """What comes of each act on the stock packages, in a process of its own."""
    child = subprocess.run([sys.executable, acts.__file__, checkpoint], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture
def assert_stock_fails(stock) -> Callable[[Callable, str | tuple[str, ...]], None]:
    """Checks how an act ends on the stock packages; where it works, the test is skipped."""
    def check(act: Callable, error: str | tuple[str, ...]) -> None:
        if stock[act.__name__] == "works":
            pytest.skip(f"{act.__name__} works upstream: the remedy is superfluous")
        assert stock[act.__name__].startswith(error)
    return check
