"""Image and text towers of open_clip, its own and timm's, cut in half where the temporal transformer goes."""
