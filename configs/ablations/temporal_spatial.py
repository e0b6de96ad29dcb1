# Not in the paper's table: the sixth pattern, attention within each frame, more depth without any time.
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=dict(type="TemporalNeck", pattern="spatial"))
