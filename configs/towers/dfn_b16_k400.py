# Data Filtering Networks, B/16 (Fang et al. 2023, arXiv 2309.17425); trained with QuickGELU.
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised.py", "../_base_/runtime.py"]

model = dict(arch="ViT-B-16-quickgelu", pretrained="dfn2b", classes="kinetics400")
