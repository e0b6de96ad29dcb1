"""MMEngine's Runner with the two steps it lacks: data-parallel training without a GPU, and strict weights."""
from __future__ import annotations

import re

from mmaction.registry import RUNNERS
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from torch import distributed, nn

from ..weights import WeightsDoNotFit


@RUNNERS.register_module()
class ClaverRunner(Runner):
    """Named in a config as ``runner_type='ClaverRunner'``; the host's own tools build it as well as ours.

    Without an accelerator, a distributed run uses gloo: MMEngine 0.10 asks CUDA for the local device on every launch
    (``dist/utils.py:130``, ``runner.py:900,911``). Superfluous when MMEngine asks ``get_device`` instead.

    Weights named by ``load_from`` or ``resume`` must fit: what is missing or left over stops the run, where the stock
    Runner goes on with random weights. ``load_allow_missing`` in the config, a list of regular expressions, names what
    may stay as it was initialised (a neck that the checkpoint does not know) or be left over.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """See ``Runner.setup_env``."""
        if self.distributed and get_device() == "cpu" and not is_distributed():
            if self.launcher != "pytorch":
                raise ValueError(f"launcher {self.launcher!r} needs a GPU; use torchrun (--launcher pytorch) on CPU")
            distributed.init_process_group("gloo")
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """See ``Runner.wrap_model``."""
        on_cpu = self.distributed and get_device() == "cpu" and not is_model_wrapper(model)
        if not on_cpu:
            return super().wrap_model(model_wrapper_cfg, model)
        options = dict(model_wrapper_cfg or {})
        kind = options.pop("type", "MMDistributedDataParallel")
        if kind != "MMDistributedDataParallel":
            raise ValueError(f"model wrapper {kind!r} is not available without a GPU; use MMDistributedDataParallel")
        options.setdefault("broadcast_buffers", False)
        options.setdefault("find_unused_parameters", self.cfg.get("find_unused_parameters", False))
        return MMDistributedDataParallel(model, **options)

    def load_checkpoint(self, filename: str, map_location="cpu", strict: bool = True, revise_keys=((r"^module.", ""),)):
        """See ``Runner.load_checkpoint``; strict but for what ``load_allow_missing`` names.

        Raises:
            WeightsDoNotFit: Names the checkpoint and the keys that do not fit.
        """
        allowed = self.cfg.get("load_allow_missing") or []
        model = self.model.module if is_model_wrapper(self.model) else self.model

        def forgive(_: nn.Module, keys) -> None:
            for names in keys:
                names[:] = [name for name in names if not any(re.search(pattern, name) for pattern in allowed)]

        handle = model.register_load_state_dict_post_hook(forgive)
        try:
            return super().load_checkpoint(filename, map_location, strict, list(revise_keys))
        except (RuntimeError, WeightsDoNotFit) as error:
            lines = [line for line in str(error).splitlines() if line]
            if not isinstance(error, WeightsDoNotFit) and "do not match exactly" not in lines[0]:
                raise
            more = f"\n(and {len(lines) - 8} more)" if len(lines) > 8 else ""
            raise WeightsDoNotFit(
                f"checkpoint {filename} does not fit the model of this config:\n" + "\n".join(lines[:8]) + more +
                "\nUse the config that it was trained with (arch, depth, neck), or name what may stay untrained or be "
                "left over in load_allow_missing") from error
        finally:
            handle.remove()
