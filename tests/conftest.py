"""Small models, small videos and the shared files that many tests use."""
from __future__ import annotations

import functools
import gc
import os
import warnings
from pathlib import Path

import pytest
import torch
from toy import ROOT, leave_configs_unformatted

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
import claver_mm  # noqa: E402, F401, I001
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

init_default_scope("mmaction")


@pytest.fixture(autouse=True, scope="session")
def _short_runs():
    """Without what MMEngine does again and again: to format the config of a run, which the tools that are processes of
    their own still do, to read the index of a package for each base of a config that lies there, and to collect garbage
    for each data set among all that was imported."""
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        leave_configs_unformatted(patch.setattr)
        patch.setattr(Config, "_get_cfg_path", functools.cache(Config._get_cfg_path))
        yield


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _without_onednn(request):
    """MobileOne and MobileCLIP at toy size make oneDNN of torch 2.14 free memory twice in the backward pass, on
    processors without AVX-512, and the process aborts; with torch's own convolutions it does not."""
    if "mobileone" not in request.node.name and "mobileclip" not in request.node.name:
        yield
        return
    with torch.backends.mkldnn.flags(enabled=False):
        yield


@pytest.fixture(scope="module")
def one_thread():
    """For many short runs, which share few cores; and where numbers have to be those of a process on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def clips() -> Path:
    """Real video files, one of them damaged; they are not part of the project."""
    folder = Path(os.environ.get("CLAVER_TEST_CLIPS", ROOT.parent / "shared" / "clips"))
    if not folder.is_dir():
        pytest.skip(f"no real video files at {folder}; CLAVER_TEST_CLIPS names a folder with some")
    return folder


@pytest.fixture(scope="session")
def motion_videos(tmp_path_factory) -> Path:
    """48 training and 16 validation clips of the 8 motion classes."""
    from claver_mm.video.motion_files import make_motion_videos
    root = tmp_path_factory.mktemp("motion")
    make_motion_videos(root, num_train=48, num_val=16, seed=0, workers=1, progress=False)
    return root
