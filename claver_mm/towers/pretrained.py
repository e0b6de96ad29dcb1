"""Where the weights of a tower are: a file, an open_clip tag, a model on the hub or in a folder.

Pure: imports open_clip and pure parts of this package, nothing of ``mm*``.
"""
from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import open_clip
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.tokenizer import HFTokenizer

from ..weights.torchscript import is_torchscript
from .architectures import (
    CONFIG,
    HUB,
    LOCAL_DIR,
    PAPER_ARCHS,
    SCHEMES,
    Arch,
    bring_config,
    folder_of,
    model_config,
    shown_arch,
    written_config,
)

OPEN_CLIP = "open_clip:"
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")
NAMES = ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")
"""What open_clip's weights are called in a folder, in the order in which it takes them."""


def parse_reference(reference: str) -> tuple[str, str]:
    """Architecture and weights of a tower by one name.

    Args:
        reference: ``open_clip:ARCHITECTURE/TAG``, ``hf-hub:ORGANISATION/NAME`` or ``local-dir:FOLDER``.

    Raises:
        ValueError: Another form, an unknown architecture or tag; the message names those that there are.

    Example:
        >>> parse_reference("open_clip:PE-Core-L-14-336/meta")
        ('PE-Core-L-14-336', 'meta')
    """
    if reference.startswith(SCHEMES):
        return reference, reference
    if not reference.startswith(OPEN_CLIP):
        raise ValueError(f"{reference!r} names no tower: write open_clip:ARCHITECTURE/TAG, hf-hub:ORGANISATION/NAME or "
                         "local-dir:FOLDER, for example open_clip:PE-Core-L-14-336/meta (all: claver ls --towers)")
    arch, _, tag = reference.removeprefix(OPEN_CLIP).rpartition("/")
    arch = arch or tag
    name = PAPER_ARCHS.get(arch, arch)
    if name not in open_clip.list_models():
        near = get_close_matches(name, open_clip.list_models(), 3, 0.5)
        raise ValueError(f"unknown architecture {arch!r} in {reference!r}" + (f"; near it: {', '.join(near)}"
                                                                             if near else ""))
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags or arch == tag:
        raise ValueError(f"{reference!r} names no weights of {arch}; its tags: {', '.join(tags) or 'none'}")
    return arch, tag


def tower_settings(reference: str, weights: str | Path | None = None,
                   cache_dir: str | Path | None = None) -> dict[str, str]:
    """``arch``, ``pretrained`` and ``preprocessing`` of a model by the name of its tower.

    Args:
        reference: As of ``parse_reference``.
        weights: A file with the weights, where they shall not be downloaded. They are prepared for as those that
            ``reference`` names.
        cache_dir: Where downloaded weights lie.

    Raises:
        FileNotFoundError: No such file.
        ValueError, RuntimeError: As of ``parse_reference`` and ``resolve_pretrained``.
    """
    arch, pretrained = parse_reference(reference)
    if weights is not None and not Path(weights).expanduser().is_file():
        raise FileNotFoundError(f"no weights file at {weights}")
    if cache_dir is not None and reference.startswith(HUB):
        arch = pretrained = f"{LOCAL_DIR}{_snapshot(reference, cache_dir, with_weights=weights is None)}"
    elif cache_dir is not None and weights is None and not reference.startswith(SCHEMES):
        weights = resolve_pretrained(pretrained, arch, cache_dir)
    if weights is None:
        return dict(arch=arch, pretrained=pretrained)
    settings = dict(arch=arch, pretrained=str(weights))
    return settings if arch == pretrained else dict(settings, preprocessing=pretrained)


def _snapshot(reference: str, cache_dir: str | Path, with_weights: bool) -> Path:
    """Folder in a cache of the hub with a model's config, weights and tokenizer, which are downloaded unless they lie
    there."""
    place = reference.removeprefix(HUB)
    try:
        folder = Path(download_pretrained_from_hf(place, filename=CONFIG, cache_dir=str(cache_dir))).parent
        if with_weights:
            download_pretrained_from_hf(place, cache_dir=str(cache_dir))
        tokenizer = written_config(f"{LOCAL_DIR}{folder}")["text_cfg"].get("hf_tokenizer_name")
        if tokenizer and not (folder / "tokenizer_config.json").is_file():
            HFTokenizer(tokenizer, cache_dir=str(cache_dir))
    except OSError as error:  # open_clip's and transformers', of the hub and of its offline mode
        raise RuntimeError(f"{reference} is not in {cache_dir}, and could not be downloaded: {error}") from error
    return folder


def reference_of(arch: Arch, pretrained: str | Path | None) -> str | dict:
    """The name that ``parse_reference`` reads; of weights that are a file, or none, the architecture alone, and of a
    model config the config."""
    if not isinstance(arch, str):
        return dict(arch)
    if arch.startswith(SCHEMES):
        return arch
    tags = open_clip.list_pretrained_tags_by_model(PAPER_ARCHS.get(arch, arch))
    return f"{OPEN_CLIP}{arch}/{pretrained}" if pretrained in tags else arch


def resolve_pretrained(pretrained: str | Path, arch: Arch, cache_dir: str | Path | None = None) -> Path:
    """Path of a weights file.

    Args:
        pretrained: The file itself; an open_clip tag (``openai``, ``laion2b_s34b_b79k``), whose weights are downloaded
            unless the cache has them; ``hf-hub:ORGANISATION/NAME``; or ``local-dir:FOLDER``.
        arch: The architecture.
        cache_dir: Where downloads lie, and are put; open_clip's and the hub's own places when None.

    Raises:
        ValueError: None of these, or weights trained with another activation.
        FileNotFoundError: A folder without weights.
        RuntimeError: The weights could not be downloaded.
    """
    if str(pretrained).startswith(SCHEMES):
        if bring_config(pretrained):
            check_activation(pretrained, arch, written_config(str(pretrained)).get("quick_gelu", False))
        return _of_scheme(str(pretrained), cache_dir)
    path = Path(pretrained).expanduser()
    if path.is_file():
        check_activation(pretrained, arch, True if is_torchscript(path) else None)
        return path
    name = PAPER_ARCHS.get(arch, arch) if isinstance(arch, str) else None
    tags = open_clip.list_pretrained_tags_by_model(name) if name else []
    if pretrained not in tags:
        raise ValueError(f"{str(pretrained)!r} is neither a file nor an open_clip tag of {shown_arch(arch)}; its tags: "
                         f"{', '.join(tags) or 'none'}")
    config = open_clip.get_pretrained_cfg(name, pretrained)
    check_activation(pretrained, arch, config.get("quick_gelu"))
    try:
        return Path(open_clip.download_pretrained(config, cache_dir=None if cache_dir is None else str(cache_dir)))
    except Exception as error:
        raise RuntimeError(f"open_clip weights {pretrained!r} of {shown_arch(arch)} could not be downloaded ({error}); "
                           "give the path of a file that you have instead: pretrained='/path/to/ViT-B-16.pt', of "
                           "Recognizer.from_pretrained weights=..., of commands --weights FILE") from error


def _of_scheme(name: str, cache_dir: str | Path | None) -> Path:
    if name.startswith(HUB):
        try:
            return Path(download_pretrained_from_hf(
                open_clip.factory.parse_model_name(name)[1], cache_dir=None if cache_dir is None else str(cache_dir)))
        except Exception as error:  # of the hub, and of its offline mode
            raise RuntimeError(f"the weights of {name!r} could not be downloaded ({error}); give the path of a file, "
                               "or local-dir:FOLDER") from error
    folder = folder_of(name)
    files = sorted(path for path in folder.glob("*") if path.suffix in WEIGHTS and path.is_file())
    named = [path for suffix in WEIGHTS for name in NAMES for path in files if path.name == f"{name}{suffix}"]
    if not named and len(files) != 1:
        found = f"of {', '.join(path.name for path in files)} none is named so" if files else "no weights there"
        raise FileNotFoundError(f"no open_clip_model.safetensors in {folder}: {found}; give the file itself")
    return (named or files)[0]


def check_activation(pretrained: str | Path, arch: Arch, trained_with_quick_gelu: bool | None) -> None:
    """OpenAI's weights in a model with plain GELU run without complaint and are a few points worse: refuse them,
    and the reverse; None where it is not known of the weights."""
    built_with_it = bool(model_config(arch).get("quick_gelu"))
    if trained_with_quick_gelu not in (None, built_with_it):
        trained, built = ("QuickGELU", "GELU")[::-1 if built_with_it else 1]
        raise ValueError(f"{pretrained} was trained with {trained}, but {shown_arch(arch)} is built with {built}; use "
                         f"the form of the architecture {'without' if built_with_it else 'with'} '-quickgelu'")
