"""Processes that adapt are killed at any moment, and share a cache: what comes of it is that of a run left alone.

Takes minutes: CLAVER_TEST_KILLS=5 python -m pytest tests/adapt/test_adapt_is_killed.py
"""
import os
import random
import subprocess
import sys
import time

import pytest
import torch

KILLS = int(os.environ.get("CLAVER_TEST_KILLS", "0"))
pytestmark = pytest.mark.skipif(not KILLS, reason="takes minutes; CLAVER_TEST_KILLS=5 runs it. Stops after each epoch, "
                                "and killed writers, are tested in test_adapt and test_store")


@pytest.fixture(scope="module")
def start(tower, own_videos, tmp_path_factory):
    """Starts ``claver adapt`` with a cache and a folder for the result."""
    folder = tmp_path_factory.mktemp("tower")
    tower.config.dump(folder / "tower.py")
    torch.save(tower.model.state_dict(), folder / "tower.pth")

    def started(cache, out):
        words = [own_videos, "--config", folder / "tower.py", "--checkpoint", folder / "tower.pth", "--out", out,
                 "--cache", cache, "--epochs", 8, "--depth", 1, "--workers", 0, "--batch-size", 2]
        return subprocess.Popen([sys.executable, "-W", "ignore", "-m", "claver_mm_cli", "adapt", *map(str, words)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=dict(os.environ, PYTHONPATH=":".join(sys.path), OMP_NUM_THREADS="1"))
    return started


def finished(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return said


def test_kills_and_a_neighbour_change_nothing(start, tmp_path):
    """One run is left alone; another is killed again and again while a third shares its cache."""
    began = time.monotonic()
    finished(start(tmp_path / "alone", tmp_path / "a"))
    whole = time.monotonic() - began
    neighbour = start(tmp_path / "shared", tmp_path / "b")
    draw = random.Random(0)
    for _ in range(KILLS):
        process = start(tmp_path / "shared", tmp_path / "c")
        time.sleep(draw.uniform(0.5, 1.0) * whole)
        process.kill()
        process.communicate()
    finished(neighbour)
    finished(start(tmp_path / "shared", tmp_path / "c"))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] == weights[2]
    assert not list((tmp_path / "shared" / "runs").glob("*.pt"))
