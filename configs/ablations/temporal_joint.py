# Table 7: joint attention over all tokens of the clip (80.1).
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=dict(type="TemporalNeck", pattern="joint"))
