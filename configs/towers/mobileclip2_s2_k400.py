# MobileCLIP2-S2 (Faghri et al. 2025, arXiv 2508.20691): FastViT stands in stages, so the neck's depth is a number.
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised.py", "../_base_/runtime.py"]

model = dict(arch="MobileCLIP2-S2", pretrained="dfndr2b", classes="kinetics400", neck=dict(depth=2))
