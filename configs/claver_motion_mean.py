# The same without a temporal transformer (CLIP-Mean): what is left when frames are only averaged.
_base_ = ["claver_motion.py"]

model = dict(neck=None)
