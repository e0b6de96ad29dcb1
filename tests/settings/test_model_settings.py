"""What the parts of a model share is said once."""
import pytest
from toy import TINY

from claver_mm.catalog import PROMPTS, find_classes
from claver_mm.language import read_bank, read_lines
from claver_mm.language.shipped import bank_names, find_bank
from claver_mm.settings import complete, write_out

OTHER = dict(TINY, quick_gelu=False)


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def said_once(**changes):
    return dict(type="CLAVERRecognizer", arch=TINY, num_frames=4, classes=["run", "jump"]) | changes


def written(**changes):
    parts = dict(backbone=dict(type="CLIPBackbone", arch="B/16", pretrained="openai"),
                 neck=dict(type="KMTNeck", arch="B/16", num_frames=8),
                 cls_head=dict(type="ContrastiveTextHead", arch="B/16", pretrained="openai", classes=["run", "jump"]))
    for part, more in changes.items():
        parts[part] = parts[part] | more
    return dict(type="Recognizer3D", **parts)


def test_parts_are_handed_what_the_model_says():
    model, notes = write_out(said_once(pretrained="w.pt", bank={"run": ["a"], "jump": ["b"]},
                                       neck=dict(type="KMCTNeck", depth=2)))
    assert model == dict(
        type="Recognizer3D", backbone=dict(type="CLIPBackbone", arch=TINY, pretrained="w.pt"),
        neck=dict(type="KMCTNeck", depth=2, arch=TINY, num_frames=4, class_tokens_only=True),
        data_preprocessor=dict(type="ActionDataPreprocessor", format_shape="NCTHW", mean=[255 * x for x in MEAN],
                               std=[255 * x for x in STD]),
        cls_head=dict(type="ContrastiveTextHead", arch=TINY, pretrained="w.pt", classes=["run", "jump"],
                      bank={"run": ["a"], "jump": ["b"]}))
    assert notes == [] and write_out(said_once(neck=None))[0]["neck"] is None


@pytest.mark.parametrize("change, says", [
    (dict(backbone=dict(arch=OTHER)), r"model.backbone.arch is .*model.arch is .*say it once, in model.arch"),
    (dict(pretrained=None, cls_head=dict(pretrained="openai")), "cls_head.pretrained is 'openai', model.pretrain"),
    (dict(neck=dict(num_frames=8)), "model.neck.num_frames is 8, model.num_frames is 4"),
    (dict(cls_head=dict(classes="my.txt")), "model.cls_head.classes is 'my.txt', model.classes is"),
    (dict(backbone=dict(pretrained="openai")), "backbone.pretrained is 'openai', model.cls_head.pretrained is No"),
    (dict(bank=None, cls_head=dict(bank="b.yaml")), "model.cls_head.bank is 'b.yaml', model.bank is None"),
    (dict(neck=None, num_frames=0), "model.num_frames must be at least 1, got 0"),
    (dict(achr="B/16"), "model.achr: CLAVERRecognizer takes no 'achr'; did you mean 'arch'"),
])
def test_a_part_that_says_something_else_is_refused_by_both_names(change, says):
    """A GELU tower beside OpenAI's text tower trained without a word."""
    with pytest.raises(ValueError, match=says):
        write_out(said_once(**change))


@pytest.mark.parametrize("change, says", [
    (dict(backbone=dict(arch="B/32")), "model.backbone.arch is 'B/32', model.neck.arch is 'B/16'"),
    (dict(backbone=dict(arch="ViT-B-16"), neck=dict(arch="ViT-B-16")), "model.cls_head.arch is 'B/16'"),
    (dict(cls_head=dict(pretrained=None)), "model.backbone.pretrained is 'openai', model.cls_head.pretrained is None"),
])
def test_written_parts_that_disagree_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        complete(dict(model=written(**change)))


@pytest.mark.parametrize("arch, head, says", [
    ("PE-Core-B-16", {}, "a tower that pools by attention reads all tokens.*set class_tokens_only=False on the neck"),
    ("B/16", dict(pool="mean"), "pool='mean' reads all tokens.*set class_tokens_only=False on the neck")])
def test_a_neck_that_keeps_back_tokens_which_the_head_reads_is_refused(arch, head, says):
    parts = dict(backbone=dict(arch=arch, pretrained=None), neck=dict(arch=arch, class_tokens_only=True),
                 cls_head=dict(arch=arch, pretrained=None, **head))
    for model in (written(**parts), said_once(arch=arch, neck=dict(class_tokens_only=True), cls_head=head)):
        with pytest.raises(ValueError, match=says):
            complete(dict(model=model))


def test_two_names_of_one_architecture_agree():
    model = written(backbone=dict(arch="ViT-B-16-quickgelu"))
    assert complete(dict(model=model))["model"] == model


def test_what_is_said_of_a_model_whose_parts_are_written_out_names_the_way():
    with pytest.raises(ValueError, match="model.classes: Recognizer3D takes no 'classes'.*model.cls_head.classes"):
        complete(dict(model=dict(written(), classes="my.txt")))


@pytest.mark.parametrize("name, count", [("kinetics400", 400), ("kinetics600", 600), ("ucf101", 101), ("hmdb51", 51)])
def test_a_shipped_list_is_found_by_name_and_its_bank_by_its_classes(name, count):
    names = read_lines(find_classes(name), "classes")
    assert len(names) == count
    assert find_bank(names) == str(PROMPTS / f"{name.removesuffix('400').removesuffix('600')}.yaml")


@pytest.mark.parametrize("name", ["ucf101", "hmdb51"])
def test_the_names_of_a_bank_are_those_that_reading_it_gives(name):
    assert bank_names(PROMPTS / f"{name}.yaml") == set(read_bank(PROMPTS / f"{name}.yaml").entries)


def test_own_classes_are_one_change_and_blending_follows(tmp_path):
    """Bank, mixup's number of classes in a list, and the head were three errors in a row."""
    (tmp_path / "my.txt").write_text("juggling knives\nwalking on hands\n")
    blending = dict(type="RandomBatchAugment", augments=[dict(type="MixupBlending"), dict(type="CutmixBlending")])
    cfg = complete(dict(
        model=said_once(classes=str(tmp_path / "my.txt"), bank="auto", data_preprocessor=dict(blending=blending)),
        train_dataloader=dict(dataset=dict(type="ActionVideoDataset", ann_file="a", pipeline=[]))))
    assert [one["num_classes"] for one in cfg["model"]["data_preprocessor"]["blending"]["augments"]] == [2, 2]
    assert cfg["train_dataloader"]["dataset"]["classes"] == cfg["model"]["cls_head"]["classes"]
    assert "bank" not in cfg["model"]["cls_head"] and "templates serve alone" in cfg["derived"][0]


def test_a_bank_is_chosen_by_all_classes_as_they_are_spelled():
    assert write_out(said_once(classes=["archery", "abseiling"], bank="auto"))[0]["cls_head"]["bank"] == str(
        PROMPTS / "kinetics.yaml")
    assert find_bank(["Archery"]) == str(PROMPTS / "ucf101.yaml") and find_bank(["no such thing"]) is None


def test_kinds_of_texts_without_a_bank_are_refused():
    with pytest.raises(ValueError, match="kinds chooses from a bank, and no shipped bank has texts for all"):
        write_out(said_once(classes=["no such thing"], bank="auto", cls_head=dict(kinds=["synonym"])))


def test_mixup_of_another_number_of_classes_is_refused():
    blending = dict(type="MixupBlending", num_classes=400)
    with pytest.raises(ValueError, match="MixupBlending.num_classes is 400, the model has 2 classes"):
        write_out(said_once(data_preprocessor=dict(blending=blending)))


def test_an_unknown_name_of_a_list_names_those_that_are_there():
    with pytest.raises(FileNotFoundError, match="no class list 'kinetics4000': .*kinetics400, kinetics600"):
        write_out(said_once(classes="kinetics4000"))
