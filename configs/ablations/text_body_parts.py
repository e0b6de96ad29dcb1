# Table 11, texts, mean over frames: and body parts (78.4).
_base_ = ["components_prompts.py"]

model = dict(cls_head=dict(kinds=["decomposition", "synonym", "body_parts"]))
