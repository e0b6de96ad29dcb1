# MobileCLIP2-B (Faghri et al. 2025, arXiv 2508.20691).
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised.py", "../_base_/runtime.py"]

model = dict(arch="MobileCLIP2-B", pretrained="dfndr2b", classes="kinetics400")
