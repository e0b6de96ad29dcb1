"""Through the host's Runner: weights, resume, repeatability, bad input."""
import copy

import pytest
import torch
from mmengine.hooks import Hook
from processes import run_on
from toy import TINY, scalars, toy_config

from claver_mm.datasets import TooManyUnreadable
from claver_mm.engine.launch import build_runner

SMALL = {"train_dataloader.dataset.indices": 16, "val_dataloader.dataset.indices": 4,
         "test_dataloader.dataset.indices": 4}


def config(videos, work_dir, **changes):
    return toy_config("claver_b16_kmct_k400", videos, work_dir, **{**SMALL, **changes})


def weights(path):
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def trained(motion_videos, tmp_path_factory):
    """(work folder, checkpoint) of a run of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    build_runner(config(motion_videos, folder, **{"train_cfg.max_epochs": 2})).train()
    return folder, folder / "epoch_2.pth"


def test_a_checkpoint_tests_the_same_twice(trained, motion_videos, tmp_path):
    """Published tests with 4 clips sample at random."""
    scores = []
    for run in range(2):
        cfg = config(motion_videos, tmp_path / str(run), load_from=str(trained[1]))
        cfg.test_evaluator = [cfg.test_evaluator, dict(type="DumpResults", out_file_path=str(tmp_path / f"{run}.pkl"))]
        build_runner(cfg).test()
        import pickle
        with open(tmp_path / f"{run}.pkl", "rb") as file:
            scores.append(torch.stack([entry["pred_score"] for entry in pickle.load(file)]))
    assert scores[0].shape == (4, 8) and torch.equal(*scores)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_resumed_between_epochs_ends_with_the_same_weights(trained, motion_videos, tmp_path, workers):
    """MMEngine alone draws other random numbers after a resume. Persistent workers prefetch, so both are tried."""
    cfg = config(motion_videos, tmp_path, **{
        "train_cfg.max_epochs": 2, "train_dataloader.num_workers": workers,
        "train_dataloader.persistent_workers": workers > 0, "resume": True,
        "load_from": str(trained[0] / "epoch_1.pth")})
    runner = build_runner(cfg)
    runner.train()
    assert runner.epoch == 2
    expected = weights(trained[1])
    for key, value in weights(tmp_path / "epoch_2.pth").items():
        assert torch.equal(value, expected[key]), key


def test_a_run_resumed_after_its_last_epoch_says_that_nothing_is_left(trained, motion_videos, tmp_path):
    """It ended at once and without a word."""
    runner = build_runner(config(motion_videos, tmp_path, **{"train_cfg.max_epochs": 2, "resume": True,
                                                             "load_from": str(trained[1])}))
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 4) and not (tmp_path / "epoch_3.pth").exists()
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert f"{trained[1]} is the end of this run, epoch 2 of 2: nothing is left to train" in log


def test_load_from_starts_anew_and_resume_goes_on(trained, motion_videos, tmp_path):
    """The published code restores epoch and optimiser when it fine-tunes."""
    fine_tuned = build_runner(config(motion_videos, tmp_path / "tune", load_from=str(trained[1])))
    fine_tuned.train()
    assert (fine_tuned.epoch, fine_tuned.iter) == (1, 2)
    first = scalars(tmp_path / "tune")[0]
    assert first["lr"] == pytest.approx(12e-8)  # warm-up starts over


def test_another_class_list_takes_the_same_weights(trained, motion_videos, tmp_path):
    """Classes are texts, not weights: fine-tuning on other classes needs no surgery."""
    (tmp_path / "classes.txt").write_text("one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    cfg = config(motion_videos, tmp_path, load_from=str(trained[1]))
    for node in (cfg.model.cls_head, cfg.test_dataloader.dataset):
        node.classes = str(tmp_path / "classes.txt")
    cfg.model.cls_head.bank = None  # templates serve any class
    assert "acc/top1" in build_runner(cfg).test()


@pytest.mark.parametrize("break_it, says", [
    (lambda state: state.pop("neck.transformer.temporal_embedding"), "missing.*neck.transformer.temporal_embedding"),
    (lambda state: state.update(extra=torch.zeros(1)), "unexpected.*extra"),
], ids=["missing", "left over"])
def test_weights_that_do_not_fit_stop_the_run(trained, motion_videos, tmp_path, break_it, says):
    checkpoint = torch.load(trained[1], weights_only=True)
    break_it(checkpoint["state_dict"])
    torch.save(checkpoint, tmp_path / "broken.pth")
    cfg = config(motion_videos, tmp_path, load_from=str(tmp_path / "broken.pth"))
    with pytest.raises(ValueError, match=f"(?s)broken.pth does not fit.*{says}.*load_allow_missing"):
        build_runner(cfg).test()
    cfg.load_allow_missing = [r"^neck\.transformer\.temporal_embedding$", "^extra$"]
    assert "acc/top1" in build_runner(cfg).test()


def test_a_checkpoint_of_another_size_stops_the_run(trained, motion_videos, tmp_path):
    """The stock Runner logs a warning and tests random weights."""
    cfg = config(motion_videos, tmp_path, load_from=str(trained[1]))
    wide = copy.deepcopy(TINY)
    wide["vision_cfg"]["width"] = 96
    for part in ("backbone", "neck", "cls_head"):
        cfg.model[part].arch = wide
    with pytest.raises(ValueError, match="(?s)epoch_2.pth does not fit.*another size.*class_embedding.*config that"):
        build_runner(cfg).test()


def test_a_missing_video_stops_the_run_by_name(motion_videos, tmp_path):
    (tmp_path / "list.txt").write_text("nowhere.mp4 0\n" * 4)
    cfg = config(motion_videos, tmp_path, **{"train_dataloader.dataset.ann_file": str(tmp_path / "list.txt"),
                                             "train_dataloader.dataset.indices": None})
    with pytest.raises(TooManyUnreadable, match="(?s)nowhere.mp4"):
        build_runner(cfg).train()


def over_the_budget(videos, folder):
    cfg = config(videos, folder / "run", **{
        "train_dataloader.dataset.ann_file": str(folder / "list.txt"), "train_dataloader.dataset.indices": None,
        "train_dataloader.dataset.max_unreadable": 3, "train_dataloader.batch_size": 2})
    cfg.launcher = "pytorch"
    with pytest.raises(TooManyUnreadable) as error:
        build_runner(cfg).train()
    return str(error.value)


def test_the_budget_of_unreadable_videos_is_that_of_all_ranks_together(motion_videos, tmp_path):
    """Each rank meets at most three of four in an epoch, which is within the budget; together they are over it."""
    good = (motion_videos / "train.txt").read_text().splitlines()[:8]
    (tmp_path / "list.txt").write_text("\n".join([*good, *(f"gone{i}.mp4 {i}" for i in range(4))]))
    for said in run_on(2, over_the_budget, motion_videos, tmp_path):
        assert "4 of the 12 samples" in said and "3 may" in said and "gone0.mp4" in said


def test_an_empty_validation_list_is_named_before_the_first_epoch(motion_videos, tmp_path):
    (tmp_path / "list.txt").write_text("\n")
    cfg = config(motion_videos, tmp_path, **{"val_dataloader.dataset.ann_file": str(tmp_path / "list.txt")})
    with pytest.raises(ValueError, match="annotation list .*list.txt is empty"):
        build_runner(cfg).train()
    assert not list(tmp_path.glob("*.pth"))


def test_class_lists_that_differ_stop_the_run(motion_videos, tmp_path):
    names = (motion_videos / "classes.txt").read_text().splitlines()
    cfg = config(motion_videos, tmp_path)
    cfg.train_dataloader.dataset.classes = [*names[:6], names[7], names[6]]
    with pytest.raises(ValueError, match="class 6 is '.*' in the train data set and '.*' in the head"):
        build_runner(cfg).train()
    cfg.train_dataloader.dataset.classes = [*names, "standing still"]
    with pytest.raises(ValueError, match="the train data set has 9 classes, the head 8"):
        build_runner(cfg).train()


def test_mixup_of_another_number_of_classes_stops_the_run(motion_videos, tmp_path):
    cfg = config(motion_videos, tmp_path)
    cfg.model.data_preprocessor.blending.augments[1].num_classes = 400
    with pytest.raises(ValueError, match="CutmixBlending makes targets of 400 classes, the head has 8"):
        build_runner(cfg).train()


def test_an_unknown_pattern_is_named_by_the_config(motion_videos, tmp_path):
    cfg = config(motion_videos, tmp_path)
    cfg.model.neck = dict(type="TemporalNeck", arch=TINY, pattern="kmtt", num_frames=8)
    with pytest.raises(ValueError, match="unknown attention pattern 'kmtt'; known patterns: kmt, kmct"):
        build_runner(cfg)


def test_epochs_draw_different_samples(motion_videos, tmp_path):
    """MMEngine's workers start every epoch from the same seed."""
    cfg = config(motion_videos, tmp_path, **{"train_dataloader.num_workers": 1})
    runner = build_runner(cfg)
    loader = runner.build_dataloader(cfg.train_dataloader, seed=0)
    runner.train_loop.dataloader = loader
    seen = []
    for epoch in (0, 1, 0):
        runner.train_loop._epoch = epoch
        runner.call_hook("before_train_epoch")
        seen.append(torch.stack(next(iter(loader))["inputs"]))
        runner._seed = 0
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])


class TextFeaturesFollow(Hook):
    """Keeps what the head used before and during validation, and what its weights give then."""
    priority = "LOWEST"

    def before_val(self, runner):
        head = runner.model.cls_head.eval()
        with torch.no_grad():
            self.trained = head.text_features().clone()
        head.logits = lambda video, text: setattr(self, "used", text) or head.clip.logits(video, text)

    def after_val_iter(self, runner, *args, **kwargs):
        head = runner.model.cls_head
        self.expected = head.clip.text_features(head.text_tokens)


def test_text_features_follow_averaged_weights(motion_videos, tmp_path):
    """``EMAHook`` swaps weights through ``.data``, which moves no version counter."""
    cfg = config(motion_videos, tmp_path, **{"optim_wrapper.optimizer.lr": 0.01, "param_scheduler": None})
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type="EMAHook", momentum=0.5)]
    runner = build_runner(cfg)
    hook = TextFeaturesFollow()
    runner.register_hook(hook)
    runner.train()
    assert torch.allclose(hook.used, hook.expected, atol=1e-6)
    assert (hook.used - hook.trained).abs().max() > 1e-3
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    key = "cls_head.clip.text.text_projection"
    assert not torch.equal(saved["state_dict"][key], saved["ema_state_dict"][f"module.{key}"])
    assert torch.equal(runner.model.state_dict()[key], saved["ema_state_dict"][f"module.{key}"])


def test_compiled_parts_train_as_others_and_save_the_same_names(trained, motion_videos, tmp_path):
    """One small part, by the cheapest backend: compiling takes longer than training here."""
    runner = build_runner(config(motion_videos, tmp_path, compile=dict(parts=["cls_head.clip.ln_post"],
                                                                       backend="eager")))
    runner.train()
    assert runner.model.cls_head.clip.ln_post._compiled_call_impl is not None
    expected = weights(trained[0] / "epoch_1.pth")
    for key, value in weights(tmp_path / "epoch_1.pth").items():
        assert torch.allclose(value, expected[key], atol=1e-6), key


def test_a_part_to_compile_that_is_not_there_is_named(motion_videos, tmp_path):
    with pytest.raises(ValueError, match="compile.parts names 'necks', which the model has not; it has .*backbone"):
        build_runner(config(motion_videos, tmp_path, compile=dict(parts=["necks"]))).train()
