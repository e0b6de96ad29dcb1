# Data Filtering Networks, H/14 (Fang et al. 2023, arXiv 2309.17425), frozen: the neck alone is trained.
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised_l14.py", "../_base_/runtime.py"]

model = dict(
    arch="ViT-H-14-quickgelu", pretrained="dfn5b", classes="kinetics400",
    backbone=dict(frozen=True), cls_head=dict(frozen_visual=True, frozen_text=True))
train_dataloader = dict(batch_size=4)
