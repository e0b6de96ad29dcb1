"""MMEngine's Runner with what it lacks: training without a GPU, sharded training, strict weights, towers compiled."""
from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, convert_sync_batchnorm, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch import distributed, nn
from torch.utils.data import DataLoader

from ..settings.schedule import has_a_step, is_by_iteration
from ..weights.difference import is_difference, load_over
from .checkpoints import find_checkpoint
from .configs import completed
from .console import calm, is_calm
from .loading import forgiving, misfits_named
from .loop import ResumableTrainLoop
from .ranks import decided_by_rank_0, end_with_launcher, timeout_of
from .sharding import is_sharded, keep_state_whole, shard
from .shared_memory import SharedCollate
from .trained import check_trained


@RUNNERS.register_module()
class ClaverRunner(Runner):
    """Named in a config as ``runner_type='ClaverRunner'``; the host's own tools build it as well as ours.

    Without an accelerator, a distributed run uses gloo: MMEngine 0.10 asks CUDA for the local device on every launch
    (``dist/utils.py:130``, ``runner.py:900,911``). Superfluous when MMEngine asks ``get_device`` instead.

    Weights named by ``load_from`` or ``resume`` must fit: what is missing or left over stops the run, where the stock
    Runner goes on with random weights. ``load_allow_missing`` in the config, a list of regular expressions, names what
    may stay as it was initialised (a neck that the checkpoint does not know) or be left over.

    ``model_wrapper_cfg=dict(type='FullyShard')`` shards weights, gradients and optimiser state over ranks (FSDP2, on
    GPUs and, with gloo, on CPUs); ``blocks`` and ``reshard_after_forward`` are those of ``sharding.shard``. Checkpoints
    are the same as without, so a run may go on sharded or not, on any number of processes.

    ``compile=dict(parts=['backbone', 'neck', 'cls_head.clip.text'], ...)`` compiles these modules one by one, the other
    entries being options of ``torch.compile``; without ``parts`` MMEngine compiles ``train_step`` as a whole.

    ``auto_scale_lr`` counts gradient accumulation into the total batch, which the stock Runner leaves out.

    ``resume=True`` without ``load_from`` goes on from the newest whole checkpoint of the work folder, ``resume='auto'``
    as well, and starts from ``load_from`` where there is none yet (``checkpoints.find_checkpoint``).

    Ranks wait for each other for ``env_cfg.dist_cfg.timeout`` seconds, 900 by default, and end with torchrun.
    """

    checkpoint: str | None = None
    """The file that weights were last loaded from."""
    _sharding: dict | None = None

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """See ``Runner.build_logger``; with ``ConsoleHook`` in the config, the screen gets what is for a person."""
        logger = super().build_logger(*args, **kwargs)
        return calm(logger) if is_calm(self.cfg) else logger

    @classmethod
    def from_cfg(cls, cfg: Config) -> ClaverRunner:
        """See ``Runner.from_cfg``; the config is made whole first (``claver_mm.settings``).

        Raises:
            ValueError: Parts of the config disagree, or a key is read by nothing.
        """
        cfg = completed(cfg)
        runner = super().from_cfg(cfg)
        for note in cfg.get("derived") or ():
            runner.logger.info(note)
        return runner

    def build_param_scheduler(self, scheduler):
        """See ``Runner.build_param_scheduler``; a warm-up of less than an iteration is none."""
        if isinstance(scheduler, list) and any(is_by_iteration(each) for each in scheduler):
            steps = len(self.train_dataloader)
            scheduler = [each for each in scheduler if not is_by_iteration(each) or has_a_step(each, steps)]
        return super().build_param_scheduler(scheduler)

    def setup_env(self, env_cfg: dict) -> None:
        """See ``Runner.setup_env``.

        Raises:
            ValueError: Another launcher than torchrun without a GPU, or a timeout that is no number above 0.
        """
        dist_cfg = dict(env_cfg.get("dist_cfg") or {})
        dist_cfg["timeout"] = self._timeout = timeout_of(dist_cfg)
        if self.distributed:
            end_with_launcher()
        if self.distributed and get_device() == "cpu" and not is_distributed():
            if self.launcher != "pytorch":
                raise ValueError(f"launcher {self.launcher!r} needs a GPU; use torchrun (--launcher pytorch) on CPU")
            distributed.init_process_group("gloo", timeout=timedelta(seconds=self._timeout))
        super().setup_env(dict(env_cfg, dist_cfg=dist_cfg))

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """See ``Runner.wrap_model``; a model to be sharded stays whole until ``train``, ``val`` or ``test``.

        Raises:
            ValueError: A wrapper, or an option of it, that does not work here; the message names one that does.
        """
        options = dict(model_wrapper_cfg or {})
        kind = options.pop("type", "MMDistributedDataParallel")
        if kind == "MMFullyShardedDataParallel":
            raise ValueError(f"{kind} is FSDP1, which MMEngine's Runner initialises too late and saves on one rank "
                             "alone; use model_wrapper_cfg=dict(type='FullyShard')")
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        if kind == "FullyShard":
            return self._to_be_sharded(options, model)
        if get_device() != "cpu":
            return super().wrap_model(model_wrapper_cfg, model)
        if kind != "MMDistributedDataParallel":
            raise ValueError(f"model wrapper {kind!r} is not available without a GPU; use MMDistributedDataParallel "
                             "or FullyShard")
        options.setdefault("broadcast_buffers", False)
        options.setdefault("find_unused_parameters", self.cfg.get("find_unused_parameters", False))
        return MMDistributedDataParallel(model, **options)

    def _to_be_sharded(self, options: dict, model: nn.Module) -> nn.Module:
        for name in ("broadcast_buffers", "find_unused_parameters"):  # of a config made for DDP
            if options.pop(name, False):
                raise ValueError(f"FullyShard has no {name}; set model_wrapper_cfg.{name}=False")
        unknown = set(options) - {"blocks", "reshard_after_forward"}
        if unknown:
            raise ValueError(f"FullyShard takes blocks and reshard_after_forward, not {sorted(unknown)}")
        self._sharding = options
        if self.cfg.get("sync_bn"):
            model = convert_sync_batchnorm(model, self.cfg.sync_bn)
        return model.to(get_device())

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None) -> None:
        """See ``Runner.register_hooks``.

        Raises:
            ValueError: ``EMAHook`` beside ``FullyShard``.
        """
        super().register_hooks(default_hooks, custom_hooks)
        if self._sharding is not None and any(isinstance(hook, EMAHook) for hook in self.hooks):
            raise ValueError("EMAHook copies the model, which torch refuses for one that is sharded; take one of them "
                             "out: custom_hooks, or model_wrapper_cfg.type='FullyShard'")

    def _shard(self) -> None:
        if self._sharding is not None and not is_sharded(self.model):
            shard(self.model, get_device(), **self._sharding)

    def train(self) -> nn.Module:
        """See ``Runner.train``."""
        if self._sharding is not None and not is_sharded(self.model):
            self._init_model_weights()  # random weights are drawn whole
        self._shard()
        with self._errors_explained():
            return super().train()

    def val(self) -> dict:
        """See ``Runner.val``."""
        self._shard()
        with self._errors_explained():
            return super().val()

    def test(self) -> dict:
        """See ``Runner.test``; without a checkpoint the model is tested with the pretrained weights of its config,
        where the stock Runner would go on with random ones.

        Raises:
            ValueError: Parts of the model would be random beside others that are pretrained.
        """
        if not (self._load_from or self._resume or self._has_loaded or isinstance(self._train_loop, BaseLoop)):
            if check_trained(self.model.module if is_model_wrapper(self.model) else self.model):
                self._init_model_weights()
        self._shard()
        with self._errors_explained():
            return super().test()

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """Say more of errors whose text names no file and no setting."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                error.add_note(f"No room on the disk of {self.work_dir}, or in /dev/shm. The checkpoints are whole; "
                               "make room, and go on with --resume")
            raise
        except RuntimeError as error:
            if self.distributed and re.search("timed? ?out", str(error), re.IGNORECASE):
                error.add_note(f"Rank {self.rank} waited {self._timeout:g} seconds for another rank, which hangs or "
                               "has more to do; env_cfg.dist_cfg.timeout is the number of seconds. --resume goes on")
            raise

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args, **kwargs) -> DataLoader:
        """See ``Runner.build_dataloader``; workers report that shared memory is full, where a stock run waits for
        good."""
        built = Runner.build_dataloader(dataloader, *args, **kwargs)
        if built is not dataloader and built.num_workers:
            built.collate_fn = SharedCollate(built.collate_fn)
        return built

    def _init_model_weights(self) -> None:
        if not is_sharded(self.model):
            super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper) -> OptimWrapper:
        """See ``Runner.build_optim_wrapper``."""
        built = super().build_optim_wrapper(optim_wrapper)
        if built is not optim_wrapper and is_sharded(self.model):
            keep_state_whole(built.optimizer)
        return built

    def save_checkpoint(self, out_dir: str, filename: str, *args, save_optimizer: bool = True, **kwargs) -> None:
        """See ``Runner.save_checkpoint``."""
        if is_sharded(self.model) and self.rank:  # rank 0 writes, all give it their part
            self.model.state_dict()
            if save_optimizer:
                self.optim_wrapper.state_dict()
        super().save_checkpoint(out_dir, filename, *args, save_optimizer=save_optimizer, **kwargs)

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Scale the rates of all groups by the total batch over ``base_batch_size``, accumulation counted.

        Raises:
            ValueError: No ``base_batch_size``.
        """
        if not (auto_scale_lr or {}).get("enable"):
            return
        if not auto_scale_lr.get("base_batch_size"):
            raise ValueError("auto_scale_lr needs base_batch_size, the total batch that the learning rate is meant for")
        total = self.train_dataloader.batch_size * self.world_size * optim_wrapper._accumulative_counts
        ratio = total / auto_scale_lr["base_batch_size"]
        self.logger.info(f"learning rates are scaled by {ratio:g}: {total} clips an update, meant for "
                         f"{auto_scale_lr['base_batch_size']}")
        for group in optim_wrapper.param_groups:
            group["lr"] *= ratio

    def load_or_resume(self) -> None:
        """See ``Runner.load_or_resume``.

        Raises:
            ValueError: A work folder with checkpoints, none of them whole.
            OSError: A checkpoint cannot be read.
        """
        if not self._has_loaded and (self._resume == "auto" or self._resume and self._load_from is None):
            found, said = decided_by_rank_0(lambda: find_checkpoint(self))
            for line in said:
                self.logger.warning(line)
            if found:
                self.logger.info(f"the run goes on from {found}, the newest whole checkpoint of its folder")
                self._load_from = found
            else:
                self.logger.warning(f"no checkpoint in {self.work_dir} to resume from: the run starts anew"
                                    + (f", from the weights in {self._load_from}" if self._load_from else ""))
            self._resume = bool(found)
        super().load_or_resume()

    def resume(self, filename: str, *args, **kwargs) -> None:
        """See ``Runner.resume``; says so where the run had ended, which the stock Runner leaves to be guessed."""
        super().resume(filename, *args, **kwargs)
        if isinstance(self._train_loop, ResumableTrainLoop):  # it counts from the start of an epoch, and tells better
            self.logger.addFilter(lambda record: "gradient of some iterations is lost" not in record.getMessage())
        if isinstance(self._train_loop, BaseLoop) and self.iter >= self.max_iters:
            self.logger.warning(f"{filename} is the end of this run, epoch {self.epoch} of {self.max_epochs}: nothing "
                                "is left to train. To train on from its weights, start a new run with load_from")

    def _maybe_compile(self, target: str) -> None:
        options = self.cfg.get("compile")
        if not isinstance(options, dict) or "parts" not in options:
            return super()._maybe_compile(target)
        options = dict(options)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        for name in options.pop("parts"):
            try:
                part = model.get_submodule(name)
            except AttributeError as error:
                known = ", ".join(child for child, _ in model.named_children())
                raise ValueError(f"compile.parts names {name!r}, which the model has not; it has {known} and what "
                                 "is in them") from error
            part.compile(**options)

    def load_checkpoint(self, filename: str, map_location="cpu", strict: bool = True, revise_keys=((r"^module.", ""),)):
        """See ``Runner.load_checkpoint``; strict but for what ``load_allow_missing`` names. A file of what differs from
        public weights is loaded over those that the config names.

        Raises:
            WeightsDoNotFit: Names the checkpoint and the keys that do not fit.
            ValueError: Names a file that is cut or damaged, or a difference for a model that is sharded.
        """
        allowed = self.cfg.get("load_allow_missing") or []
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if is_difference(filename):
            return self._load_difference(model, filename)

        with forgiving(model, allowed), misfits_named(filename):
            checkpoint = super().load_checkpoint(filename, map_location, strict, list(revise_keys))
        self.checkpoint = filename
        return checkpoint

    def _load_difference(self, model: nn.Module, filename: str) -> dict:
        if is_sharded(self.model):
            raise ValueError(f"{filename} holds a difference from public weights, which a sharded model does not have "
                             "whole; save the recogniser with whole=True")
        if not isinstance(self._train_loop, BaseLoop):  # training has loaded the public ones by now
            self._init_model_weights()
        load_over(model, filename)
        self.checkpoint = filename
        return {}
