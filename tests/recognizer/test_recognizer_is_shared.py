"""A ``Recognizer`` shared by threads and left by others in any state, and what it refuses to run."""
import copy
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import open_clip
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from rankings import LABELS, frames_of
from toy import TINY

from claver_mm import Recognizer
from claver_mm.engine.trained import UntrainedWarning
from claver_mm.streaming import VideoStream


def test_threads_that_share_a_recogniser_get_the_answers_of_calls_alone(recognizer, video):
    """About half the answers carried another call's scores: the labels of a call lay in the shared head."""
    frames = frames_of(video)
    lists = [["alpha one", "alpha two", "alpha three"], ["gamma red", "gamma blue", "gamma green"], LABELS, None]
    tensor = torch.from_numpy(frames[:4, :32, :32]).float().div(255).permute(3, 0, 1, 2)[None]

    def stream(labels):
        texts = recognizer.texts(labels)
        feed = VideoStream(recognizer.claver, beyond="window", texts=texts)
        return [feed.push(tensor[:, :, t]).logits for t in range(2)][-1].flatten().tolist()

    def act(number):
        labels = lists[number % 4]
        if number % 5 == 2:  # hooks of an explanation kept what other threads ran
            found = recognizer.explain(frames, "a red arrow", labels)
            return found.ranked, found.words, found.combined.tolist()
        return (stream(labels) if number % 5 == 3 else recognizer.embed(frames).tolist() if number % 5 == 4
                else recognizer.recognize(frames, labels))

    expected = [act(number) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(act, range(200)))
    assert all(found[number] == expected[number % 20] for number in range(200))


def test_what_a_set_of_labels_costs_is_paid_once(recognizer, video, monkeypatch):
    """All texts went through the tokenizer in every call, and through the text tower after every other labels."""
    labels, spent = [f"label number {number}" for number in range(20)], []
    clip = recognizer.head.clip
    tokenize, encode = recognizer.claver.tokenize, clip.text_features
    monkeypatch.setattr(recognizer.claver, "tokenize", lambda texts: spent.append("tokens") or tokenize(texts))
    monkeypatch.setattr(clip, "text_features", lambda *args, **how: spent.append("features") or encode(*args, **how))
    recognizer.recognize(video, labels)
    assert "tokens" in spent and spent.count("features") == 1
    recognizer.recognize(video, ["other", "labels"])
    spent.clear()
    recognizer.recognize(video, list(labels))
    assert not spent
    with torch.no_grad():
        clip.text.ln_final.bias.data.add_(0)  # written to, but not changed
        recognizer.recognize(video, labels)
        assert not spent
        clip.text.ln_final.bias.data.add_(1)
        recognizer.recognize(video, labels)
        clip.text.ln_final.bias.data.sub_(1)
    assert spent == ["features"]


def test_training_mode_left_on_changes_no_answer(recognizer, video):
    want = recognizer.recognize(video, LABELS), recognizer.embed_texts("chess").tolist()
    recognizer.model.train()
    try:
        got = recognizer.recognize(video, LABELS), recognizer.embed_texts("chess").tolist()
        recognizer.explain(video, "chess", LABELS)
        assert recognizer.model.neck.transformer.training  # as the user left it
    finally:
        recognizer.model.eval()
    assert got == want


@pytest.mark.parametrize("pretrained, neck, says", [
    (True, True, "the temporal transformer of this config would be random"), (True, False, None),
    (False, True, UntrainedWarning), (False, False, UntrainedWarning)])
def test_a_model_that_is_random_in_part_is_refused_unless_asked_for(config, tmp_path, pretrained, neck, says):
    """``41.1 %`` was printed for a temporal transformer of random weights."""
    changed = config.copy()
    changed.model = copy.deepcopy(config.model)
    changed.model.neck = changed.model.neck if neck else None
    if pretrained:
        torch.save(open_clip.CustomTextCLIP(**TINY).state_dict(), tmp_path / "clip.pt")
        changed.model.backbone.pretrained = changed.model.cls_head.pretrained = str(tmp_path / "clip.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if says is None:
            Recognizer(changed, device="cpu")
        elif says is UntrainedWarning:
            with pytest.raises(UntrainedWarning, match="all weights of this config are random"):
                Recognizer(changed, device="cpu")
        else:
            with pytest.raises(ValueError, match=says):
                Recognizer(changed, device="cpu")
        Recognizer(changed, device="cpu", untrained=True)


def test_a_recogniser_leaves_the_settings_of_the_program_alone(config):
    """Logging that was switched off was on again, and the default scope was another."""
    logging.disable(logging.WARNING)
    level = MMLogger.get_current_instance().level
    try:
        with DefaultScope.overwrite_default_scope("mmengine"):
            own = Recognizer(config, device="cpu", untrained=True)
            assert DefaultScope.get_current_instance().scope_name == "mmengine"
        assert logging.root.manager.disable == logging.WARNING
    finally:
        logging.disable(logging.NOTSET)
    assert MMLogger.get_current_instance().level == level
    assert own.head.average_clips == "prob" == config.model.cls_head.get("average_clips", "prob")
