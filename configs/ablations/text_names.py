# Table 11, texts, mean over frames: class names alone (77.4).
_base_ = ["components_prompts.py"]

model = dict(bank=None, cls_head=dict(templates=["{}"]))
