# Meta CLIP 2, H/14 (Chuang et al. 2025, arXiv 2507.22062), frozen: class names in any language; its tokenizer is fetched.
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised_l14.py", "../_base_/runtime.py"]

model = dict(
    arch="ViT-H-14-worldwide-quickgelu", pretrained="metaclip2_worldwide", classes="kinetics400",
    backbone=dict(frozen=True), cls_head=dict(frozen_visual=True, frozen_text=True))
train_dataloader = dict(batch_size=4)
