"""What a score loses with the patches that it is said to rest on."""
import pytest
import torch
from torch import nn

from claver_mm.explain.deletion import deletion_drops, remove_patches
from claver_mm.model import CLAVER


class Reader(CLAVER):
    """A model whose similarity is the mean brightness of one patch of each clip."""

    def __init__(self, t: int, y: int, x: int):
        nn.Module.__init__(self)
        self.place = t, y, x

    def video_features(self, clips):
        patches = clips.unflatten(-1, (4, 8)).unflatten(-3, (4, 8)).mean((1, -1, -3))  # (B, T, 4, 4)
        return patches[:, *self.place].unsqueeze(1)

    def text_features(self, tokens):
        return torch.ones(len(tokens), 1)


def test_the_patch_that_a_score_rests_on_costs_it_all_and_random_ones_their_share():
    clips = torch.rand(3, 3, 4, 32, 32) + 1
    relevance = torch.zeros(3, 4, 4, 4)
    relevance[:, 1, 2, 3] = 1
    model = Reader(1, 2, 3)
    relevant, random = deletion_drops(model, clips, torch.zeros(3, 5), relevance, share=0.25, draws=200,
                                      generator=torch.Generator().manual_seed(0))
    before = model.video_features(clips)[:, 0]
    torch.testing.assert_close(relevant, before)
    torch.testing.assert_close(random / before, torch.full((3,), 0.25), atol=0.09, rtol=0)


def test_as_many_patches_go_as_were_asked_for_and_the_highest_ones():
    clips, order = torch.ones(2, 3, 4, 32, 48), torch.rand(2, 4, 4, 6)
    kept = remove_patches(clips, order, 0.2)[:, 0, :, ::8, ::8]  # one pixel of each patch
    assert (kept == 0).flatten(1).sum(1).tolist() == [19, 19]  # of 96
    for gone, values in zip(kept == 0, order):
        assert values[gone].min() > values[~gone].max()
    assert torch.equal(remove_patches(clips, order, 0), clips)
    assert not remove_patches(clips, order, 1).any()


def test_a_share_or_patches_that_do_not_fit_are_refused():
    clips = torch.ones(1, 3, 2, 32, 32)
    with pytest.raises(ValueError, match="share.*1.5"):
        remove_patches(clips, torch.ones(1, 2, 4, 4), 1.5)
    with pytest.raises(ValueError, match="clips and frames"):
        remove_patches(clips, torch.ones(1, 3, 4, 4), 0.5)
    with pytest.raises(ValueError, match="32 x 32.*33 x 4"):
        remove_patches(clips, torch.ones(1, 2, 33, 4), 0.5)


def test_pixels_beyond_the_last_whole_patch_stay_as_a_vit_does_not_see_them():
    """384 pixels in patches of 14, as of SigLIP's largest tower, were refused."""
    kept = remove_patches(torch.ones(1, 3, 2, 32, 32), torch.ones(1, 2, 5, 4), 1)
    assert not kept[..., :30, :].any() and (kept[..., 30:, :] == 1).all()
