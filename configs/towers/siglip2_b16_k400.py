# SigLIP 2 B/16 (Tschannen et al. 2025, arXiv 2502.14786): its sigmoid loss, which smooths no labels; its tokenizer is fetched.
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised.py", "../_base_/runtime.py"]

model = dict(
    arch="ViT-B-16-SigLIP2", pretrained="webli", classes="kinetics400", cls_head=dict(label_smooth_eps=0.0))
