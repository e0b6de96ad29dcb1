# CLAVER-B/16 on OpenAI's weights. What the parts share stands at the top, and they follow; a leaf names its classes.
# Mean and standard deviation are those of the weights; the published code used ImageNet's for OpenAI's:
# preprocessing=dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]).
model = dict(
    type="CLAVERRecognizer",
    arch="B/16",
    pretrained="openai",
    num_frames=8,
    bank="auto",
    data_preprocessor=dict(
        type="ActionDataPreprocessor",
        format_shape="NCTHW",
        blending=dict(
            type="RandomBatchAugment",
            augments=[dict(type="MixupBlending", alpha=0.8), dict(type="CutmixBlending", alpha=1.0)],
            probs=[0.5, 0.5])),
    backbone=dict(type="CLIPBackbone"),
    neck=dict(type="KMTNeck", depth=1 / 3),
    cls_head=dict(
        type="ContrastiveTextHead", num_draws=5, label_smooth_eps=0.1, score="prob", average_clips="prob"))
