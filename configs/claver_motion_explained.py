# claver_motion.py for pictures: finer patches, and texts with colours and shapes that tell no class.
_base_ = ["claver_motion.py"]

colours = ["red", "green", "blue", "yellow", "white"]
shapes = ["triangle", "arrow", "angle", "half disc", "cut disc", "drop"]
model = dict(
    arch=dict(vision_cfg=dict(patch_size=4)),
    cls_head=dict(templates=[f"a {colour} {shape} {{}}" for colour in colours for shape in shapes]))
