# Perception Encoder, core B/16 (Bolya et al. 2025, arXiv 2504.13181): RoPE, attention pooling, texts of 32 tokens.
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised.py", "../_base_/runtime.py"]

model = dict(arch="PE-Core-B-16", pretrained="meta", classes="kinetics400")
