"""Config files and overrides of the command line."""
import pytest
from mmengine.config import Config
from toy import ROOT

from claver_mm.engine.configs import completed, read_config, replaced

B16 = ROOT / "configs/claver_b16_k400.py"
MOTION = ROOT / "configs/claver_motion.py"
TSN = ROOT / "configs/tsn_r50_kmt_k400.py"


def frames(cfg):
    return {step.clip_len for split in ("train", "val", "test") for step in cfg[f"{split}_dataloader"].dataset.pipeline
            if "clip_len" in step} | {cfg.model.neck.num_frames, cfg.test_pipeline[1].clip_len}


@pytest.mark.parametrize("key, value, places", [
    ("model.arch", "B/32", [f"model.{part}.arch" for part in ("backbone", "neck", "cls_head")]),
    ("model.pretrained", "w.pt", ["model.backbone.pretrained", "model.cls_head.pretrained"]),
    ("train_cfg.max_epochs", 20, ["train_cfg.max_epochs", "param_scheduler.1.end"]),
    ("train_pipeline.3.scale", (-1, 300), ["train_dataloader.dataset.pipeline.3.scale"]),
    ("test_pipeline.1.num_clips", 1, ["test_dataloader.dataset.pipeline.1.num_clips"]),
    ("train_dataloader.dataset.pipeline.3.scale", (-1, 300), ["train_dataloader.dataset.pipeline.3.scale"]),
    ("model.neck.depth", 2, ["model.neck.depth"]),
])
def test_an_override_reaches_every_place(key, value, places):
    cfg = read_config(B16, {key: value})
    for place in places:
        node = cfg
        for name in place.split("."):
            node = node[int(name)] if name.isdigit() else node[name]
        assert node == value, place


def test_frames_are_one_override():
    assert frames(read_config(B16, {"model.num_frames": 12})) == {12}


def test_data_root_moves_lists_and_videos():
    """It was a variable that the config had used up."""
    cfg = read_config(B16, {"data_root": "/my data"})
    assert {cfg[f"{split}_dataloader"].dataset.ann_file.rpartition("/")[0] for split in ("train", "val", "test")} == {
        "/my data"}
    assert cfg.val_dataloader.dataset.data_prefix.video == "/my data/videos_val"


def test_own_classes_are_one_override(tmp_path):
    """They were three errors in a row."""
    (tmp_path / "my.txt").write_text("juggling knives\nwalking on hands\n")
    cfg = read_config(B16, {"model.classes": str(tmp_path / "my.txt")})
    assert {augment.num_classes for augment in cfg.model.data_preprocessor.blending.augments} == {2}
    assert {cfg[f"{split}_dataloader"].dataset.classes for split in ("train", "val", "test")} == {
        cfg.model.cls_head.classes} == {str(tmp_path / "my.txt")}
    assert cfg.model.cls_head.get("bank") is None and "templates serve alone" in cfg.derived[0]


@pytest.mark.parametrize("path, changes, says", [
    (B16, {"modle.arch": "B/32"}, "the override modle.arch changes nothing: .*did you mean model"),
    (B16, {"max_epochs": 3}, "the override max_epochs changes nothing: .*did you mean train_cfg.max_epochs"),
    (B16, {"lr": 1e-3}, "did you mean optim_wrapper.optimizer.lr"),
    (MOTION, {"arch": "B/32"}, "nothing reads 'arch' at the top of a config; did you mean model.arch"),
    (B16, {"clip_len": 16}, "clip_len=16 at the top .*model.num_frames"),
    (B16, {"model.achr": "B/32"}, "takes no 'achr'; did you mean 'arch'"),
    (B16, {"model.backbone.arch": "B/32"}, "model.backbone.arch is 'B/32', model.arch is 'B/16'"),
    (B16, {"model.neck.num_frames": 16}, "model.neck.num_frames is 16, model.num_frames is 8"),
    (B16, {"train_pipeline.1.clip_len": 16}, "train_pipeline.1.clip_len is 16, model.neck.num_frames is 8"),
    (B16, {"param_scheduler.1.end": 30}, "param_scheduler ends at 30, and the run at 60"),
    (B16, {"train_dataloder.batch_size": 8}, "did you mean 'train_dataloader'"),
    (TSN, {"data_root": "/x"}, "the override data_root changes nothing: it is a variable that the config's files have"),
    (TSN, {"model.num_frames": 4}, "Recognizer2DWithNeck takes no 'num_frames'.*model.neck.num_frames"),
])
def test_an_override_that_changes_nothing_or_disagrees_is_refused(path, changes, says):
    with pytest.raises(ValueError, match=says):
        read_config(path, changes)


def test_an_override_to_what_is_there_already_is_no_mistake():
    assert read_config(TSN, {"data_root": Config.fromfile(TSN).data_root}).model.neck.depth == 2


def test_a_schedule_of_the_host_is_stretched_by_an_override():
    cfg = read_config(TSN, {"train_cfg.max_epochs": 5})
    assert cfg.param_scheduler[-1].end == 5 and cfg.param_scheduler[-1].milestones == [2, 4]


def test_a_config_that_was_written_after_reading_reads_the_same(tmp_path):
    cfg = read_config(MOTION, {"train_cfg.max_epochs": 2})
    cfg.dump(tmp_path / "dumped.py")
    again = read_config(tmp_path / "dumped.py")
    assert {**again.to_dict(), "derived": cfg.derived} == cfg.to_dict()
    shorter = read_config(tmp_path / "dumped.py", {"train_cfg.max_epochs": 1})
    assert [each.end for each in shorter.param_scheduler] == [0.25, 1]


def test_the_callers_config_stays_as_it_is():
    cfg = Config.fromfile(MOTION)
    before = cfg.to_dict()
    assert completed(cfg).model.type == replaced(cfg, {"model.num_frames": 2}).model.type == "Recognizer3D"
    assert cfg.to_dict() == before


@pytest.mark.parametrize("name", ["a b", "größe", "{x}", "{{ fileDirname }}", 'say "hi"', "a'b"])
def test_a_leaf_in_a_folder_of_any_name_inherits(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    leaf = tmp_path / name / "my leaf.py"
    leaf.write_text(f"_base_ = {str(B16)!r}\nmodel = dict(num_frames=4, classes='ucf101')\ndata_root = 'my data'\n")
    cfg = read_config(leaf.name)
    assert frames(cfg) == {4} and cfg.train_dataloader.dataset.ann_file == "my data/kinetics400_train_list_videos.txt"
    assert cfg.model.cls_head.bank == str(ROOT / "prompts/ucf101.yaml")
