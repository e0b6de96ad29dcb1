# CLAVER-B/16 on OpenAI's weights. What the parts share stands at the top, and they follow; a leaf names its classes.
model = dict(
    type="CLAVERRecognizer",
    arch="B/16",
    pretrained="openai",
    num_frames=8,
    bank="auto",
    data_preprocessor=dict(
        type="ActionDataPreprocessor",
        # CLIP's own; the published code uses ImageNet's: [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        format_shape="NCTHW",
        blending=dict(
            type="RandomBatchAugment",
            augments=[dict(type="MixupBlending", alpha=0.8), dict(type="CutmixBlending", alpha=1.0)],
            probs=[0.5, 0.5])),
    backbone=dict(type="CLIPBackbone"),
    neck=dict(type="KMTNeck", depth=1 / 3, class_tokens_only=True),
    cls_head=dict(
        type="ContrastiveTextHead", num_draws=5, label_smooth_eps=0.1, score="prob", average_clips="prob"))
