# Table 11, texts, mean over frames: and synonyms (78.2).
_base_ = ["components_prompts.py"]

model = dict(cls_head=dict(kinds=["decomposition", "synonym"]))
