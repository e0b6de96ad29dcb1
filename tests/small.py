"""A small random tower of every kind that open_clip builds, its own and timm's; nothing is downloaded."""
from __future__ import annotations

import json

import timm
from timm.models import register_model
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.fastvit import FastVit
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos

VIT = dict(img_size=32, patch_size=8, embed_dim=64, depth=3, num_heads=2)
TEXT = dict(context_length=24, width=32, heads=2, layers=2)
SIGLIP_TEXT = dict(TEXT, no_causal_mask=True, proj_bias=True, pool_type="last")


def _named(build):
    """Register a builder with timm under its name, once."""
    def model(pretrained=False, **kwargs):
        kwargs.pop("pretrained_cfg", None), kwargs.pop("pretrained_cfg_overlay", None), kwargs.pop("cache_dir", None)
        return build(**kwargs)
    model.__name__ = build.__name__
    model.__module__ = __name__
    if build.__name__ not in timm.list_models():
        register_model(model)
    return build.__name__


def small_vit(**how):
    model = VisionTransformer(**{**VIT, **how})
    model.default_cfg = {}
    return model


def small_siglip(**how):
    return small_vit(class_token=False, **how)


def small_gap(**how):
    """As ViTamin pools."""
    return small_vit(**{"class_token": False, "fc_norm": False, "global_pool": "avg", **how})


def small_eva(**how):
    model = Eva(**{**VIT, "use_rot_pos_emb": True, "ref_feat_shape": (4, 4), **how})
    model.default_cfg = {}
    return model


def small_pe(**how):
    """As ``vit_pe_core_*``: RoPE, a norm before the blocks, attention pooling over all tokens."""
    return small_eva(**{"attn_type": "rope", "use_pre_transformer_norm": True, "rope_grid_offset": 1.0,
                        "rope_grid_indexing": "xy", "attn_pool_num_heads": 2, "attn_pool_mlp_ratio": 4.0, **how})


def small_pe_without_class_token(**how):
    return small_pe(class_token=False, **how)


def small_relpos(**how):
    model = VisionTransformerRelPos(**{**VIT, "class_token": True, "global_pool": "token", **how})
    model.default_cfg = {}
    return model


def small_convnext(**how):
    model = ConvNeXt(**{"depths": (1, 1, 2, 1), "dims": (16, 16, 32, 64), **how})
    model.default_cfg = dict(pool_size=(1, 1))
    return model


def small_fastvit(**how):
    model = FastVit(**{"layers": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "mlp_ratios": (2, 2, 2, 2),
                       "token_mixers": ("repmixer",) * 4, "cls_ratio": 2.0, **how})
    model.default_cfg = dict(pool_size=(1, 1))
    return model


def small_swin(**how):
    model = SwinTransformer(**{"img_size": 32, "patch_size": 4, "embed_dim": 32, "depths": (1, 1), "num_heads": (1, 2),
                               "window_size": 4, **how})
    model.default_cfg = dict(pool_size=(4, 4))
    return model


def _timm(build, pool, proj, text=TEXT, size=32, embed_dim=64, **more) -> dict:
    vision = dict(timm_model_name=_named(build), timm_pool=pool, timm_proj=proj, image_size=size)
    return dict(embed_dim=embed_dim, vision_cfg=vision, text_cfg=text) | more


_CLIP = dict(layers=3, width=64, head_width=32, patch_size=8, image_size=32)
TOWERS = {
    "clip": dict(embed_dim=32, quick_gelu=True, vision_cfg=_CLIP, text_cfg=TEXT),
    "clipa": dict(embed_dim=32, vision_cfg=dict(_CLIP, no_ln_pre=True, pool_type="avg", final_ln_after_pool=True),
                  text_cfg=dict(TEXT, no_causal_mask=True, pool_type="last")),
    "coca": dict(embed_dim=32, vision_cfg=dict(_CLIP, attentional_pool=True, attn_pooler_heads=2, output_tokens=True),
                 text_cfg=dict(TEXT, embed_cls=True, output_tokens=True),
                 multimodal_cfg=dict(context_length=24, width=32, heads=2, layers=1, attn_pooler_heads=2),
                 custom_text=True),
    "resnet": dict(embed_dim=32, vision_cfg=dict(layers=[1, 1, 1, 1], width=16, head_width=64, image_size=64,
                                                 patch_size=None), text_cfg=TEXT),
    "timm class token": _timm(small_vit, "token", None),
    "siglip": _timm(small_siglip, "map", "none", SIGLIP_TEXT, init_logit_bias=-10),
    "vitamin": _timm(small_gap, "", "linear"),
    "eva": _timm(small_eva, "token", None),
    "pe": _timm(small_pe, "map", None),
    "pe without class token": _timm(small_pe_without_class_token, "map", None),
    "relpos": _timm(small_relpos, "", "linear"),
    "convnext": _timm(small_convnext, "", "mlp", size=64),
    "mobileclip": _timm(small_fastvit, "avg", None, size=64),
    "swin": _timm(small_swin, "", "linear"),
}
"""open_clip model config by kind."""


def small_tower(arch) -> dict:
    """A small tower of the same kind as an architecture's: class, pooling, prefix tokens, activation, bias of logits; a
    text tower that masks, pools and projects alike, on CLIP's own vocabulary."""
    from claver_mm.towers.architectures import model_config, tower_of

    def kind(of):
        tower = tower_of(of)
        return tower.kind, tower.pooling, tower.num_prefix

    config = model_config(arch)
    small = next(each for each in TOWERS.values() if kind(each) == kind(arch))
    alike = {key: config["text_cfg"][key] for key in ("no_causal_mask", "proj_bias", "pool_type")
             if key in config["text_cfg"]}
    if alike.get("pool_type") == "eos":
        alike["eos_id"] = 49407
    of_all = {key: config[key] for key in ("init_logit_bias", "quick_gelu") if key in config}
    kept = {key: small[key] for key in ("embed_dim", "vision_cfg")}
    return json.loads(json.dumps(kept | of_all | {"text_cfg": TEXT | alike}))


def whole(kind: str):
    """open_clip's own model of a kind, in evaluation mode, no weight of it zero."""
    import open_clip
    import torch
    from open_clip.coca_model import CoCa
    config = json.loads(json.dumps(TOWERS[kind]))
    config.pop("custom_text", None)
    model = (CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP)(**config).eval()
    for parameter in model.parameters():
        if not parameter.count_nonzero():
            torch.nn.init.normal_(parameter, std=0.02)
    return model
