"""What open_clip's architectures are, and whether they are served here: a table made by looking at each of them.

Pure: imports open_clip and pure parts of this package, nothing of ``mm*``. Nothing is downloaded.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import open_clip
from huggingface_hub import ModelCard, try_to_load_from_cache

from .architectures import model_config, tower_of

NORMALISATIONS = {
    ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)): "OpenAI's mean and std",
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "ImageNet's mean and std",
    ((0.5,) * 3, (0.5,) * 3): "mean and std 0.5",
    ((0.0,) * 3, (1.0,) * 3): "mean 0, std 1",
}
DIFFERS, UNKNOWN, CLIPS_OWN = "differs by tag", "unknown", "CLIP's own"


@dataclass(frozen=True)
class Architecture:
    """A row of the table; what could not be found out is None, and ``served`` says why."""

    name: str
    kind: str | None
    """See ``Tower``, as of width, depth, heads, prefix, grid and pooling."""
    width: int | None
    depth: int | None
    heads: int | None
    prefix: int | None
    grid: tuple[int, int] | None
    size: tuple[int, int] | None
    """Height and width of the input in pixels."""
    pooling: str | None
    context: int
    """Tokens of a text."""
    causal: bool
    """Whether a token of a text sees those before it alone."""
    text_tower: str
    """CLIP's own, or the model of the Hugging Face hub whose config is fetched."""
    tokenizer: str
    """CLIP's own, or the one of the hub that is fetched."""
    logit_bias: float | None
    """The bias of logits that training began with, of towers trained by the sigmoid loss."""
    preprocessing: str | None
    """Of all tags, or that it differs; None where there are no weights."""
    tags: tuple[str, ...]
    licence: str
    """Of the weights, by the model cards that lie in the hub's local cache."""
    served: str
    """``yes``, or why not."""


def census(names: Iterable[str] | None = None) -> Iterator[Architecture]:
    """The architectures of the installed open_clip, all or those named; up to 3 s for each."""
    for name in open_clip.list_models() if names is None else names:
        yield architecture(name)


def architecture(name: str) -> Architecture:
    """One row."""
    config, text = model_config(name), model_config(name)["text_cfg"]
    found: dict = dict.fromkeys(("kind", "width", "depth", "heads", "prefix", "grid", "size", "pooling"))
    served = "yes"
    try:
        tower = tower_of(name)
        found = dict(kind=tower.kind, width=tower.width, depth=tower.depth, heads=tower.heads, prefix=tower.num_prefix,
                     grid=tower.grid, size=tower.image_size, pooling=tower.pooling)
    except ValueError as error:
        served = f"no: {error}"
    tags = tuple(open_clip.list_pretrained_tags_by_model(name))
    weights = [open_clip.get_pretrained_cfg(name, tag) for tag in tags]
    hub_model = text.get("hf_model_name")
    return Architecture(
        name, **found, context=text.get("context_length", 77), causal=not (hub_model or text.get("no_causal_mask")),
        text_tower=hub_model or CLIPS_OWN, tokenizer=text.get("hf_tokenizer_name") or CLIPS_OWN,
        logit_bias=config.get("init_logit_bias"), preprocessing=_one(map(_preprocessing, weights)), tags=tags,
        licence=_one(map(licence_of, weights)) or UNKNOWN, served=served)


def _one(values: Iterable[str]) -> str | None:
    different = set(values)
    return DIFFERS if len(different) > 1 else different.pop() if different else None


def _preprocessing(weights: dict) -> str:
    mean, std = tuple(weights["mean"]), tuple(weights["std"])
    normalised = NORMALISATIONS.get((mean, std), f"mean {mean}, std {std}")
    return f"{normalised}, {weights['interpolation']}, {weights['resize_mode']}"


def licence_of(weights: dict) -> str:
    """Licence of open_clip's weights, by the model card in the hub's local cache; ``UNKNOWN`` where there is none."""
    repository = "/".join((weights.get("hf_hub") or "").split("/")[:2]).rstrip("/")
    card = try_to_load_from_cache(repository, "README.md") if "/" in repository else None
    if not isinstance(card, str):
        return UNKNOWN
    data = ModelCard.load(card, ignore_metadata_errors=True).data
    return data.get("license_name") or data.license or UNKNOWN


def as_plain(row: Architecture) -> dict:
    """A row for JSON."""
    return asdict(row)


COLUMNS = {
    "architecture": lambda row: row.name,
    "kind": lambda row: row.kind,
    "width": lambda row: row.width,
    "depth": lambda row: row.depth,
    "heads": lambda row: row.heads,
    "prefix": lambda row: row.prefix,
    "grid": lambda row: row.grid and "x".join(map(str, row.grid)),
    "pixels": lambda row: row.size and (row.size[0] if row.size[0] == row.size[1] else "x".join(map(str, row.size))),
    "pooling": lambda row: row.pooling and row.pooling.replace("_", " "),
    "context": lambda row: row.context,
    "causal": lambda row: "yes" if row.causal else "no",
    "text tower": lambda row: _of_hub(row.text_tower),
    "tokenizer": lambda row: _of_hub(row.tokenizer),
    "bias": lambda row: row.logit_bias,
    "preprocessing": lambda row: row.preprocessing,
    "served": lambda row: row.served,
}
"""Columns of the table in text and Markdown: what holds on every machine, so without licences."""


def _of_hub(name: str) -> str:
    return "CLIP's" if name == CLIPS_OWN else f"{name} (fetched)"


def cells(row: Architecture) -> list[str]:
    """A row as the table shows it."""
    values = (column(row) for column in COLUMNS.values())
    return ["-" if value is None else str(value) for value in values]


def markdown(rows: Iterable[Architecture]) -> str:
    """The table."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def document(rows: list[Architecture]) -> str:
    """docs/towers.md, whole."""
    return f"{HEAD.format(summary=summary(rows))}\n{markdown(rows)}\n"


HEAD = """\
# Towers

`claver ls --towers --markdown > docs/towers.md` writes this file from the installed open_clip; `claver ls --towers
--json` says more of each: its tags and, where the model cards lie in the hub's local cache, their licences.

{summary}.

*kind*: open_clip's own transformer (`vit`), CLIP's ResNets, or the class of a timm model. *depth*, *heads*: not of
towers in stages. *prefix*: tokens before those of the grid. *causal*: whether a token of a text sees those before it
alone. *bias*: of logits, at the start of training by the sigmoid loss. *preprocessing*: of the weights that there are.
"""


def summary(rows: list[Architecture]) -> str:
    """How many there are, are served, and need something of the hub beside weights."""
    served = [row for row in rows if row.served == "yes"]
    texts = sum(row.text_tower != CLIPS_OWN for row in rows)
    tokenizers = sum(row.tokenizer != CLIPS_OWN for row in rows)
    return (f"{len(served)} of {len(rows)} architectures of open_clip {open_clip.__version__} are served; {tokenizers} "
            f"fetch their tokenizer from the Hugging Face hub, {texts} of these the config of their text tower too")
