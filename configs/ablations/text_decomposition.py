# Table 11, texts, mean over frames: and action decompositions (78.0).
_base_ = ["components_prompts.py"]

model = dict(cls_head=dict(kinds=["decomposition"]))
