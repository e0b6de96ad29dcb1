"""Protocols as code and data: annotation lists, few-shot draws, zero-shot classes, and how results are summed up."""
from .few_shot import SHOTS, draw_few_shot, read_few_shot
from .lists import Video, official_lists, read_hmdb51, read_kinetics, read_list, read_ucf101, restrict, write_list
from .plan import PROTOCOLS, Run, Subset
from .summary import DEVIATIONS, harmonic_mean, mean_and_deviation, percent
from .zero_shot import base_and_novel, kinetics600_zero_shot

__all__ = ["DEVIATIONS", "PROTOCOLS", "Run", "SHOTS", "Subset", "Video", "base_and_novel", "draw_few_shot",
           "harmonic_mean", "kinetics600_zero_shot", "mean_and_deviation", "official_lists", "percent", "read_few_shot",
           "read_hmdb51", "read_kinetics", "read_list", "read_ucf101", "restrict", "write_list"]
