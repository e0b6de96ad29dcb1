#!/usr/bin/env python
"""Train a recogniser from a config."""
import claver_mm  # noqa: F401

from mmengine.runner import find_latest_checkpoint

from claver_mm.engine.launch import build_runner, launch_parser, load_config


def main() -> None:
    parser = launch_parser(__doc__)
    parser.add_argument("--resume", nargs="?", const="auto", metavar="CHECKPOINT",
                        help="go on from a checkpoint, or from the latest in the work folder")
    parser.add_argument("--amp", action="store_true", help="mixed precision: float16 on a GPU, bfloat16 on a CPU")
    parser.add_argument("--no-validate", action="store_true", help="do not evaluate while training")
    parser.add_argument("--auto-scale-lr", action="store_true",
                        help="scale the learning rate by the total batch over auto_scale_lr.base_batch_size")
    parser.add_argument("--seed", type=int, help="random seed; that of the config by default")
    parser.add_argument("--diff-rank-seed", action="store_true", help="another seed for each rank")
    parser.add_argument("--deterministic", action="store_true", help="deterministic cuDNN")
    args = parser.parse_args()

    cfg = load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        wrapper = cfg.optim_wrapper.get("type", "OptimWrapper")
        if wrapper not in ("OptimWrapper", "AmpOptimWrapper"):
            parser.error(f"--amp cannot be combined with optim_wrapper.type={wrapper!r}")
        cfg.optim_wrapper.type = "AmpOptimWrapper"
    if args.resume == "auto":
        # without a checkpoint yet, a run that starts from load_from still does
        cfg.resume = bool(find_latest_checkpoint(cfg.work_dir))
        cfg.load_from = None if cfg.resume else cfg.get("load_from")
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    if args.auto_scale_lr:
        if "auto_scale_lr" not in cfg:
            parser.error("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
        cfg.auto_scale_lr.enable = True
    randomness = dict(cfg.get("randomness") or {})
    if args.seed is not None:
        randomness["seed"] = args.seed
    randomness.update(diff_rank_seed=args.diff_rank_seed or randomness.get("diff_rank_seed", False),
                      deterministic=args.deterministic or randomness.get("deterministic", False))
    cfg.randomness = randomness
    build_runner(cfg).train()


if __name__ == "__main__":
    main()
