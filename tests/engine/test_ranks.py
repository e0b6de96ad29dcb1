"""Processes that wait for each other no longer than they are told to, and end with their launcher."""
import os
import signal
import subprocess
import sys
import time

import pytest
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from processes import run_on
from stopped import small_run
from toy import ROOT

from claver_mm.engine.ranks import WAIT, decided_by_rank_0, timeout_of


class Hang(Hook):
    """Rank 1 sleeps before its second step."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and batch_idx == 1:
            time.sleep(6)


def hanging(videos, folder):
    with pytest.raises(RuntimeError) as error:
        small_run(videos, folder, Hang(), launcher="pytorch", **{"env_cfg.dist_cfg.timeout": 3}).train()
    return "".join(getattr(error.value, "__notes__", []))


def test_a_rank_that_hangs_is_waited_for_as_long_as_the_config_says(motion_videos, tmp_path):
    """It was half an hour, whatever ``env_cfg.dist_cfg.timeout`` said."""
    said = "".join(run_on(2, hanging, motion_videos, tmp_path))
    assert "waited 3 seconds for another rank" in said and "env_cfg.dist_cfg.timeout" in said


@pytest.mark.parametrize("timeout", [0, -1, "600", True, None])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(ValueError, match=f"timeout must be a number of seconds above 0, got {timeout!r}"):
        timeout_of(dict(timeout=timeout))
    assert timeout_of({}) == WAIT


def decide(fails):
    def decision():
        if fails:
            raise FileNotFoundError("of rank 0")
        return get_rank()
    import torch.distributed as dist
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    try:
        return decided_by_rank_0(decision)
    except FileNotFoundError as error:
        return str(error)


def test_rank_0_decides_for_all_and_its_error_is_everybody_s():
    assert run_on(2, decide, False) == [0, 0]
    assert run_on(2, decide, True) == ["of rank 0", "of rank 0"]


RANK = """
import os, subprocess, sys, time
if sys.argv[1] == "launcher":
    print(subprocess.Popen([sys.executable, __file__, "rank"]).pid, flush=True)
    time.sleep(60)
import importlib.util, types
for name in ("mmengine", "mmengine.dist"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["mmengine.dist"].broadcast_object_list = sys.modules["mmengine.dist"].is_main_process = None
spec = importlib.util.spec_from_file_location("ranks", sys.argv[2] if len(sys.argv) > 2 else os.environ["RANKS"])
ranks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ranks)
ranks.end_with_launcher(0.05)
print("watching", flush=True)
time.sleep(60)
"""


def test_a_rank_ends_with_its_launcher(tmp_path):
    """Killed itself, torchrun leaves its ranks behind, which trained on. Nothing of ``mm*`` is needed here."""
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    env = dict(os.environ, TORCHELASTIC_RUN_ID="one", RANK="0", RANKS=str(ROOT / "claver_mm/engine/ranks.py"))
    launcher = subprocess.Popen([sys.executable, script, "launcher"], env=env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
    rank = int(launcher.stdout.readline())
    assert launcher.stdout.readline() == "watching\n"
    os.kill(rank, 0)
    launcher.send_signal(signal.SIGKILL)
    said = launcher.communicate(timeout=20)[1]  # ends when nobody holds the pipe any more
    assert f"the launcher, process {launcher.pid}, is gone" in said
