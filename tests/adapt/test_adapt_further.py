"""A recogniser that was adapted and saved is adapted further: to its own classes, to others, to nothing by mistake."""
import shutil
from dataclasses import replace

import pytest
import torch

from claver_mm import Recognizer
from claver_mm.adapt.adapter import Settings, adapt
from claver_mm.adapt.encode import Encoded, Sight
from claver_mm.adapt.look import look
from claver_mm.adapt.start import Temporal, started
from claver_mm.adapt.training import Schedule
from claver_mm.language.prompts import ACTION_TEMPLATES
from claver_mm.protocols.clips import read_clips

SHORT = Settings(schedule=Schedule(epochs=3, min_steps=1, batch_size=8), lr=3e-3, temporal=Temporal(depth=1), alpha=1.0,
                 choose=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def videos(own_videos):
    return look(read_clips(own_videos))


@pytest.fixture(scope="module")
def saved(tower, videos, cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "mine"
    adapt(tower, videos, SHORT, cache=cache, workers=0).recognizer.save_pretrained(folder)
    return folder


@pytest.fixture()
def mine(saved):
    return Recognizer.from_pretrained(saved, device="cpu")


@pytest.mark.parametrize("text_offsets", [True, False])
def test_to_its_own_classes_it_goes_on_from_its_own_answers(text_offsets, mine, videos):
    """Its texts lie in its folder and it has no templates, which ended in "the classes have no texts"; what its texts
    had learnt was dropped."""
    begun = started(mine, videos.classes, Temporal(), text_offsets=text_offsets)
    assert begun.head.clip.text_offsets.abs().sum() > 0
    video = videos.clips[0].path
    assert dict(begun.recognize(video)) == pytest.approx(dict(mine.recognize(video)), abs=1e-6)
    learning = {name for name, p in begun.claver.named_parameters() if p.requires_grad}
    assert ("clip.text_offsets" in learning) == text_offsets


def test_to_other_classes_it_begins_with_the_answers_that_it_gives_of_them(mine, videos):
    other = [*videos.classes[:2], "something else"]
    begun, video = started(mine, other, Temporal()), videos.clips[0].path
    assert dict(begun.recognize(video)) == pytest.approx(dict(mine.recognize(video, other)), abs=1e-6)
    assert begun.head.texts.tokens.shape[1] == len(ACTION_TEMPLATES)


@pytest.mark.parametrize("temporal, what", [(Temporal("kmct"), "pattern is kmt and cannot become kmct"),
                                            (Temporal(depth=3), "depth is 1 and cannot become 3"),
                                            (Temporal(embed_dims=16), "width is .* and cannot become 16")])
def test_another_temporal_part_than_it_has_is_refused(temporal, what, mine, videos):
    with pytest.raises(ValueError, match=what):
        started(mine, videos.classes, temporal)


def test_without_a_temporal_part_to_train_the_one_that_is_there_stays(mine, videos, cache):
    found = adapt(mine, videos, replace(SHORT, temporal=None), cache=cache, workers=0)
    before, after = mine.model.state_dict(), found.recognizer.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("neck."))
    assert not torch.equal(after["cls_head.clip.text_offsets"], before["cls_head.clip.text_offsets"])


@pytest.mark.parametrize("pattern", [None, "kmt"])
def test_class_tokens_alone_are_refused_where_all_are_read(pattern, mine, tower, videos, cache):
    """A pattern that reads all tokens learnt from class tokens, and was then shown all."""
    recognizer = mine if pattern is None else tower
    settings = replace(SHORT, temporal=Temporal(pattern), sight=Sight("class"))
    with pytest.raises(ValueError, match=r"temporal part \(kmt\) reads all tokens of a frame"):
        adapt(recognizer, videos, settings, cache=cache, workers=0)


def test_a_video_that_changes_before_it_is_encoded_is_not_kept_as_what_it_was(tower, videos, tmp_path):
    """The tokens of its new content lay in the cache under its old one, for every later run."""
    own = [shutil.copy(clip.path, tmp_path / f"{number}.mp4") for number, clip in enumerate(videos.clips[:2])]
    looked = replace(videos, digests=videos.digests[:2], seconds=videos.seconds[:2],
                     clips=tuple(clip._replace(path=str(path)) for clip, path in zip(videos.clips, own)))
    shutil.copy(videos.clips[2].path, own[0])
    encoded = Encoded(tower, looked, Sight(), tmp_path / "cache")
    encoded.encode(workers=0)
    assert list(encoded.failed) == [0] and "0.mp4 has changed since it was looked at" in encoded.failed[0]
    assert encoded.keys[0][0] not in encoded.store and encoded.keys[1][0] in encoded.store


def test_tokens_on_the_grid_of_a_recogniser_are_not_those_of_its_tower(tower, videos, cache):
    """They lay at one place, so that a recogniser with a grid learnt from tokens without, or the other way round."""
    grid = started(tower, videos.classes, None, token_grid=2)
    places = [Encoded(one, videos, Sight(), cache).store.folder for one in (grid, tower)]
    assert places[0] != places[1]


def test_what_a_tower_computes_tells_its_tokens_beside_its_weights(tower, videos, cache):
    """The same weights with another activation or number of heads give other tokens."""
    one, other = (started(tower, videos.classes, None) for _ in range(2))
    other.claver.arch = dict(other.claver.arch, quick_gelu=not other.claver.arch.get("quick_gelu", False))
    assert Encoded(one, videos, Sight(), cache).store.folder != Encoded(other, videos, Sight(), cache).store.folder


def test_a_run_that_was_stopped_is_not_gone_on_with_from_other_weights_or_classes(tower, mine, videos, cache):
    """What was kept of it was found by the image tower and the numbers of classes alone."""
    def stop(text):
        if "epoch 1/" in text:
            raise KeyboardInterrupt

    lines = []
    with pytest.raises(KeyboardInterrupt):
        adapt(mine, videos, SHORT, cache=cache, workers=0, say=stop)
    other = Recognizer.from_pretrained(mine.source, device="cpu")
    other.model.neck.transformer.temporal_embedding.data.mul_(1.01)
    adapt(other, videos, SHORT, cache=cache, workers=0, say=lines.append)
    names = {name: f"{name} again" for name in videos.classes}
    renamed = replace(videos, classes=tuple(names.values()),
                      clips=tuple(clip._replace(label=names[clip.label]) for clip in videos.clips))
    adapt(mine, renamed, SHORT, cache=cache, workers=0, say=lines.append)
    assert not [line for line in lines if "goes on after" in line]
    adapt(mine, videos, SHORT, cache=cache, workers=0, say=lines.append)
    assert "goes on after epoch 1" in lines
