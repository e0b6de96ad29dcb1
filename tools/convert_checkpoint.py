#!/usr/bin/env python
"""Turn a checkpoint of the published CLAVER code into one of this project."""
import claver_mm  # noqa: F401

import argparse
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from claver_mm.weights import convert_official, load_strict, read_state_dict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="checkpoint of the published code (.pth, .pt, .safetensors)")
    parser.add_argument("target", help="file to write (.pth)")
    parser.add_argument("--config", help="config of the model; its sizes are checked against the weights")
    args = parser.parse_args()

    target = Path(args.target)
    if target.exists():
        parser.error(f"{target} exists already; remove it or name another file")
    try:
        state_dict = convert_official(read_state_dict(args.source))
        if args.config:
            cfg = Config.fromfile(args.config)
            init_default_scope(cfg.get("default_scope", "mmaction"))
            load_strict(MODELS.build(cfg.model), state_dict, args.source)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=state_dict, meta=dict(converted_from=Path(args.source).name)), target)
    values = sum(value.numel() for value in state_dict.values()) / 1e6
    check = f"fit {args.config}" if args.config else "give --config to check their sizes"
    print(f"{target}: {len(state_dict)} tensors, {values:.1f} M values; {check}")


if __name__ == "__main__":
    main()
