# Table 11, texts, mean over frames: prefixes and suffixes (77.4).
_base_ = ["components_prompts.py"]

model = dict(bank=None)
