# Table 7: attention among the class tokens of the frames (78.9). Mean pooling is components_prompts.py (78.4),
# KMTA claver_b32_k400.py (81.5), KMCTA claver_b32_kmct_k400.py (81.4).
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=dict(type="TemporalNeck", pattern="class_token"))
