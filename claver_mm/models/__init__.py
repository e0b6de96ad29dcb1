"""The registered modules; each is thin and usable alone."""
from .builder import build_claver
from .clip_backbone import CLIPBackbone
from .contrastive_head import ContrastiveTextHead
from .recognizer2d import Recognizer2DWithNeck
from .sigmoid_loss import SigmoidLoss
from .temporal_neck import KMCTNeck, KMTNeck, TemporalNeck

__all__ = ["CLIPBackbone", "ContrastiveTextHead", "KMCTNeck", "KMTNeck", "Recognizer2DWithNeck", "SigmoidLoss",
           "TemporalNeck", "build_claver"]
