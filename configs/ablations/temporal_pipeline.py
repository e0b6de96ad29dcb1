# Table 7: attention along one place in all frames (79.4). The class tokens alone would be temporal_class_token.py, so
# the mean over all tokens is read (paper section 3.2).
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=dict(type="TemporalNeck", pattern="pipeline", class_tokens_only=False), cls_head=dict(pool="mean"))
