# A tower of today behind the same neck; a leaf names tower and weights. These recipes are ours: no published numbers.
# The neck begins as the identity, so that training starts from the tower's own zero-shot accuracy.
_base_ = ["claver.py"]

# image and text tower train at a tenth of the neck's rate (../schedules), as the field does to keep what they learnt from
# billions of pairs; leaves of the largest freeze them
model = dict(neck=dict(zero_init_residual=True))
