#!/usr/bin/env python
"""Test a checkpoint, with the views of the config's test pipeline."""
import claver_mm  # noqa: F401

from claver_mm.engine.launch import build_runner, launch_parser, load_config


def main() -> None:
    parser = launch_parser(__doc__)
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--dump", metavar="FILE.pkl", help="write all predictions to a pickle file")
    parser.add_argument("--show-dir", help="draw predictions into this folder")
    parser.add_argument("--interval", type=int, default=1, help="draw one of so many videos")
    args = parser.parse_args()

    if args.interval < 1:
        parser.error(f"--interval must be at least 1, got {args.interval}")
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.show_dir:
        if "visualization" not in cfg.get("default_hooks", {}):
            parser.error("--show-dir needs default_hooks.visualization=dict(type='VisualizationHook')")
        cfg.default_hooks.visualization.update(enable=True, out_dir=args.show_dir, interval=args.interval)
    if args.dump:
        if not args.dump.endswith((".pkl", ".pickle")):
            parser.error(f"--dump writes a pickle file, {args.dump!r} should end in .pkl")
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list | tuple) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type="DumpResults", out_file_path=args.dump)]
    build_runner(cfg).test()


if __name__ == "__main__":
    main()
