"""How a recogniser is saved, loaded and handed on: the methods that huggingface_hub's own mixin has."""
from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from torch import Tensor

from ..engine.configs import read_config, saved_config
from ..engine.record import versions
from ..files import read_text
from ..language.bank import read_bank
from ..language.texts import Texts, texts_of_classes
from ..protocols.views import kind_of, read_view
from ..settings.keys import plain
from ..towers.architectures import PAPER_ARCHS, SCHEMES, model_config
from ..towers.census import UNKNOWN, licence_of
from ..towers.pretrained import HUB, OPEN_CLIP, parse_reference, reference_of, resolve_pretrained, tower_settings
from ..towers.tokenizer import context_of, tokenizer_of
from ..version import __version__
from ..weights import head_weights, image_trunk_weights, load_strict, read_state_dict
from ..weights.difference import DIFFERENCE, load_over, write_weights
from . import contract as rules
from .card import Metrics, card, check_metrics, metafile
from .folder import CARD, CONFIG, METAFILE, RECORD, TEXTS, TOKENIZER, WEIGHTS, digests, read, written
from .hub import download, upload

if TYPE_CHECKING:
    from ..recognizer import Recognizer

FRAMES = 8
"""Frames that a tower looks at, unless told."""


class Saved:
    """Part of ``claver_mm.Recognizer``."""

    source: str | None = None
    """Where a saved recogniser was loaded from."""
    _tower: str | None = None  # by its public name, where the config names a folder of a cache

    @classmethod
    def from_pretrained(cls, reference: str | Path, num_frames: int | None = None, *,
                        weights: str | Path | None = None, cache_dir: str | Path | None = None,
                        device: str | torch.device | None = None, revision: str | None = None,
                        local_files_only: bool = False, token: bool | str | None = None) -> Self:
        """A recogniser that was saved (``save_pretrained``), or a tower as it was trained on images.

        A tower is zero-shot, by the mean over frames of their embeddings: nothing of it is trained on videos, and it
        does not see in which order frames come (``print`` says so). Labels that a shipped prompt bank knows, all of
        them, are ranked by its texts too, others by templates alone.

        Args:
            reference: Folder of a saved recogniser, or ``hf-hub:ORGANISATION/NAME`` of one; or a tower:
                ``open_clip:ARCHITECTURE/TAG``, ``hf-hub:ORGANISATION/NAME`` or ``local-dir:FOLDER``;
                ``claver ls --towers`` lists the first.
            num_frames: Frames of a video that a tower looks at, one from each of as many equal segments; 8 when None.
                A saved recogniser brings its own number.
            weights: A file with the tower's weights, where they shall not be downloaded.
            cache_dir: Where downloads lie, and are put.
            device: ``cuda`` where there is one, else ``cpu``, when None.
            revision: Branch, tag or commit of a recogniser on the hub.
            local_files_only: Take it from the cache, and ask nobody.
            token: For a private one; that of ``hf auth login`` when None.

        Raises:
            FileNotFoundError: No such file of weights, or a folder in which one is missing.
            ValueError: An unknown tower or tag, a tokenizer that cannot be had; a folder of two recognisers, of another
                version of the format, or that asks for what is not known here; or an argument without meaning.
            RuntimeError: It could not be downloaded.
            claver_mm.weights.WeightsDoNotFit: The weights are not of this tower or recogniser.
        """
        name = str(reference)
        of_hub: dict[str, Any] = dict(revision=revision, local_files_only=local_files_only, token=token)
        asked = [key for key, value in of_hub.items() if value]
        if asked and not name.startswith(HUB):
            raise ValueError(f"{asked[0]} is for {HUB}ORGANISATION/NAME, not for {name!r}")
        folder = download(name, cache_dir=cache_dir, **of_hub) if name.startswith(HUB) else _folder(name)
        if folder is not None:
            if num_frames is not None:
                raise ValueError(f"{name} was saved with the number of its frames; leave num_frames out")
            return cls._from_folder(folder, name, weights, cache_dir, device)
        if asked:
            raise ValueError(f"{name} is no saved recogniser, and open_clip, which knows towers, takes no {asked[0]}")
        settings = {f"model.{key}": value for key, value in tower_settings(name, weights, cache_dir).items()}
        config = read_config("zero_shot/tower", {**settings, "model.classes": None, "model.num_frames":
                                                 FRAMES if num_frames is None else num_frames})
        recognizer: Any = cls(config, device=device)  # type: ignore[call-arg]
        recognizer.claver.tokenize(["a tokenizer that cannot be had is said now"])
        recognizer._prompts_of_known_labels, recognizer._tower = True, name
        return recognizer

    @classmethod
    def _from_folder(cls, folder: Path, name: str, weights: str | Path | None, cache_dir: str | Path | None,
                     device: str | torch.device | None) -> Self:
        contract = read(folder)
        recognizer: Any = cls(saved_config(folder, weights, cache_dir), device=device,  # type: ignore[call-arg]
                              untrained=True)
        load_over(recognizer.model, folder / WEIGHTS)
        said, texts = contract["texts"], recognizer._own
        if said and texts.digest != said["digest"]:
            raise ValueError(f"the tokenizer here ({contract['tower']['tokenizer']}) makes other token ids of "
                             f"{folder / TEXTS} than that with which the recogniser was saved: take the versions of "
                             f"packages that {CONFIG} names")
        recognizer.threshold, recognizer.source = contract["threshold"], name
        recognizer._prompts_of_known_labels = contract["prompts_of_known_labels"]
        recognizer._tower = contract["tower"]["reference"] if contract["weights"] == DIFFERENCE else None
        recognizer.claver.tokenize(["a tokenizer that cannot be had is said now"])
        return recognizer

    def save_pretrained(self, folder: str | Path, *, whole: bool = False, record: Mapping | str | Path | None = None,
                        metrics: Metrics | None = None, license: str | None = None) -> Path:
        """Save the recogniser as a folder that ``from_pretrained`` loads: weights, texts, preprocessing and sampling.

        The folder appears whole or not at all; one that holds a recogniser is replaced.

        Args:
            folder: A new or an empty one, or one that holds a recogniser.
            whole: Write all weights, where else those alone are written that differ from the public ones of the tower
                (``open_clip:...``, ``hf-hub:...``), which whoever loads it then needs.
            record: Of the training, as a mapping or a file of JSON (``run_*.json``); kept as ``record.json``.
            metrics: For the model card, by data set and name: ``{"my videos": {"top-1 accuracy": 0.93}}``.
            license: For the model card; the tower's where that is known when None.

        Returns:
            The folder.

        Raises:
            ValueError: A setting, a step of the pipeline, or texts that cannot be saved.
            RuntimeError: The tower's public weights, to find what differs, could not be downloaded.
            FileExistsError, NotADirectoryError: Something else is there.
            OSError: It cannot be written.
        """
        recognizer: Any = self
        found, texts = check_metrics(metrics), recognizer._own
        reference = None if whole else self._public_tower()
        weights = recognizer.model.state_dict()
        public = None if reference is None else _public_weights(recognizer)
        with written(folder) as new:
            kind = write_weights(new / WEIGHTS, weights, public)
            if texts is not None:
                _write_texts(new / TEXTS, texts, recognizer.claver.tokenize)
            tokenizer = tokenizer_of(recognizer.claver.arch)
            if kind != DIFFERENCE and isinstance(tokenizer, HFTokenizer):
                tokenizer.tokenizer.save_pretrained(new / TOKENIZER)
            contract = _contract(recognizer, kind, reference if kind == DIFFERENCE else None)
            contract["files"] = digests(new)
            rules.check(json.loads(json.dumps(contract, allow_nan=False)), CONFIG)
            _write_json(new / CONFIG, contract)
            if record is not None:
                _write_json(new / RECORD, record if isinstance(record, Mapping) else
                            json.loads(read_text(record, "record of a run")))
            name = Path(folder).expanduser().resolve().name
            what = str(self).partition(": ")[2]
            (new / CARD).write_text(card(contract, name, what[:1].upper() + what[1:], texts and list(texts.names),
                                         found, license), encoding="utf-8")
            (new / METAFILE).write_text(metafile(contract, name, found, WEIGHTS), encoding="utf-8")
        return Path(folder)

    def push_to_hub(self, repository: str, *, private: bool | None = None, token: bool | str | None = None,
                    commit_message: str | None = None, revision: str | None = None, **saved: Any) -> str:
        """Save the recogniser on the Hugging Face hub, in one commit; ``from_pretrained("hf-hub:...")`` loads it.

        Args:
            repository: ``ORGANISATION/NAME``, which is made where there is none.
            private: Whether a new one is; as the organisation has it when None.
            token: That of ``hf auth login`` when None.
            commit_message: Of the commit.
            revision: Branch, which is made where there is none; the main one when None.
            saved: As of ``save_pretrained``.

        Returns:
            The address of the commit.

        Raises:
            RuntimeError: The hub refuses it, or the connection broke; what was there is as it was.
            ValueError, OSError: As of ``save_pretrained``.
        """
        with TemporaryDirectory() as place:
            folder = self.save_pretrained(Path(place, repository.rpartition("/")[2]), **saved)
            return upload(folder, repository, private=private, token=token, commit_message=commit_message,
                          revision=revision)

    def _public_tower(self) -> str | None:
        """Name of the tower that this began as, where that has public weights."""
        if self._tower and self._tower.startswith((OPEN_CLIP, HUB)):
            return self._tower
        backbone = plain(self.config._cfg_dict)["model"]["backbone"]  # type: ignore[attr-defined]
        weights, named = backbone.get("pretrained"), backbone.get("preprocessing")
        if weights is None:
            return None
        found = reference_of(backbone["arch"], named if isinstance(named, str) else weights)
        return found if isinstance(found, str) and found.startswith((OPEN_CLIP, HUB)) else None


def _folder(name: str) -> Path | None:
    """A folder that looks like a saved recogniser; None of the name of a tower."""
    if name.startswith((*SCHEMES, OPEN_CLIP)):
        return None
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"no {CONFIG} in {folder}: it holds no saved recogniser; a tower of open_clip in a "
                                f"folder is local-dir:{folder}")
    return folder if folder.is_dir() else None


def _public_weights(recognizer: Recognizer) -> dict[str, Tensor]:
    """The tower's public weights under the recogniser's names, as its modules take them in."""
    backbone, head = recognizer.model.backbone, recognizer.model.cls_head
    try:
        path = resolve_pretrained(backbone.pretrained, backbone.arch)
    except RuntimeError as error:
        raise RuntimeError(f"{error}; or save all weights, whole=True") from error
    weights = read_state_dict(path)
    public: dict[str, Tensor] = {}
    for prefix, part, own in (("backbone.visual.", backbone.visual, image_trunk_weights),
                              ("cls_head.clip.", head.clip, head_weights)):
        part = copy.deepcopy(part)  # its hooks make of the weights what loading made of them
        load_strict(part, own(weights), str(path))
        public |= {prefix + name: value for name, value in part.state_dict().items()}
    return public


def _write_texts(path: Path, texts: Texts, tokenize: Any) -> None:
    names, strings, _ = texts.named
    _write_json(path, {name: list(own) for name, own in zip(names, strings)})
    if texts_of_classes(list(names), tokenize, (), read_bank(path)).digest != texts.digest:
        raise ValueError("the texts of the classes cannot be saved: their token ids are not those of their words")


def _contract(recognizer: Any, kind: str, reference: str | None) -> dict:
    config, claver = plain(recognizer.config._cfg_dict), recognizer.claver
    model = config["model"]
    backbone, given = model["backbone"], model.get("data_preprocessor") or {}
    if kind_of(given) != "ActionDataPreprocessor" or given.get("to_rgb"):
        raise ValueError(f"model.data_preprocessor={given!r:.100} cannot be saved: one of the type "
                         "ActionDataPreprocessor, of RGB, can")
    one, several = recognizer.steps("one"), recognizer.steps("config")
    depth = 0 if claver.temporal is None else len(claver.temporal.resblocks)
    temporal = rules.temporal_of(model, depth)
    text_cfg = model_config(claver.arch)["text_cfg"]
    return dict(
        format=rules.FORMAT, format_version=rules.FORMAT_VERSION, version=__version__,
        tower=dict(reference=reference, arch=_arch(claver.arch, reference), image_size=backbone.get("image_size"),
                   context_length=context_of(claver.arch), tokenizer=text_cfg.get("hf_tokenizer_name") or "CLIP's own",
                   licence=_licence(recognizer._public_tower())),
        temporal=temporal, backbone=rules.settings_of(model, "backbone", rules.BACKBONE),
        head=rules.settings_of(model, "cls_head", rules.HEAD),
        preprocessing=rules.describe_preprocessing(claver.preprocessing),
        num_frames=temporal["num_frames"] if temporal else read_view(one).frames,
        sampling=dict(one=rules.steps_of(one), all=rules.steps_of(several),
                      max_testing_views=(model.get("test_cfg") or {}).get("max_testing_views")),
        texts=rules.describe_texts(recognizer._own), prompts_of_known_labels=recognizer._prompts_of_known_labels,
        threshold=None if recognizer.threshold is None else float(recognizer.threshold), weights=kind, files={},
        versions=versions())


def _arch(arch: Any, reference: str | None) -> str | dict:
    """An architecture that is known on any machine: by the tower's public name, open_clip's, or as a config."""
    if reference is not None:
        return parse_reference(reference)[0]
    if isinstance(arch, str) and not arch.startswith(SCHEMES) and not isinstance(tokenizer_of(arch), HFTokenizer):
        return arch
    return model_config(arch)


def _licence(reference: str | None) -> str | None:
    """Of a tower, by its model card in the hub's local cache."""
    if reference is None:
        return None
    arch, tag = parse_reference(reference)
    weights = dict(hf_hub=arch.removeprefix(HUB)) if arch.startswith(HUB) else \
        open_clip.get_pretrained_cfg(PAPER_ARCHS.get(arch, arch), tag)
    found = licence_of(weights)
    return None if found == UNKNOWN else found


def _write_json(path: Path, content: Mapping) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
