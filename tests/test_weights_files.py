"""Files of weights by strangers: read without running anything of them, or refused by name."""
import io
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn
from toy import TINY

import claver_mm.weights.pickles as pickles
from claver_mm.clip import build_image_trunk
from claver_mm.weights import WeightsDoNotFit, convert_official, is_torchscript, load_file, load_strict, read_state_dict
from claver_mm.weights.pickles import read_pickle


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.attn_mask = nn.MultiheadAttention(4, 2), torch.zeros(4, 4)  # no buffer, as in OpenAI's CLIP
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(4, 8), c_proj=nn.Linear(8, 4)))

    def forward(self, x):
        return self.mlp(x + self.attn_mask)


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.tied = self.blocks[0].mlp
        self.register_buffer("resolution", torch.tensor(224))
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.logit_scale = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.arange(12.).reshape(3, 4).t()[1:])
        self.empty = nn.Parameter(torch.empty(0, 4))
        self.names, self.pair = ["a", "b"], (torch.zeros(1), 1)

    def forward(self, x):
        return self.blocks(x) * self.logit_scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", ["script", "trace"])
def test_torchscript_is_read_as_torch_would_run_it(tmp_path, form, dtype):
    tower, path = Tower().to(dtype), tmp_path / "tower.pt"
    for block in tower.blocks:
        block.attn_mask = block.attn_mask.to(dtype)
    archive = torch.jit.script(tower) if form == "script" else torch.jit.trace(tower, torch.zeros(4, 4, dtype=dtype))
    archive.save(path)
    ours, theirs = load_file(path), torch.jit.load(path).state_dict()
    assert is_torchscript(path) and ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert torch.equal(ours[key], value) and ours[key].dtype == value.dtype
        assert ours[key].stride() == value.stride()


class Runs(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.w, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(state[0], "written_by_the_file")
        self.w = state[0]
        self.training = state[1]

    def forward(self, x):
        return x


def test_nothing_of_a_torchscript_archive_is_run(tmp_path, monkeypatch):
    """``torch.jit.load`` runs what its author put into ``__setstate__``; it overwrote a file."""
    monkeypatch.chdir(tmp_path)
    torch.jit.script(nn.Sequential(nn.Linear(1, 1), Runs())).save("weights.pt")
    with pytest.raises(ValueError, match="weights.pt cannot be read.*code of its own .__setstate__., which is not run"):
        read_state_dict("weights.pt")
    assert not (tmp_path / "written_by_the_file").exists()


def rewritten(source, target, edit=None, **how):
    """A zip archive again, its ``data.pkl`` edited, its entries written in another way."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **how) as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, edit(content) if edit and entry.filename.endswith("data.pkl") else content)
    return target


def saved(tmp_path, form):
    path = tmp_path / "source.pt"
    if form == "torchscript":
        torch.jit.trace(nn.Linear(7, 1, bias=False), torch.zeros(7)).save(path)
    else:
        torch.save({"weight": torch.zeros(1, 7)}, path)
    return path


def long_storage(content):  # the number of values stands before the end of the storage's tuple
    for after in (b"tq", b"tQ"):
        content = content.replace(b"K\x07" + after, b"\x8a\x05\x00\x00\x00\x00\x19" + after, 1)
    return content


@pytest.mark.parametrize("form", ["torchscript", "state dict"])
@pytest.mark.parametrize("forge, says", [
    (lambda a, b: rewritten(a, b, long_storage), "storage '0' claims 429496729600 bytes, the file holds 28 of it"),
    (lambda a, b: rewritten(a, b, lambda content: content.replace(b"K\x01K\x07", b"K\x09K\x07")), "a tensor of size"),
    (lambda a, b: rewritten(a, b, lambda content: content.replace(b"K\x07K\x01", b"K\x00K\x00").replace(
        b"K\x01K\x07", b"J\xff\xff\xff\x7fK\x07")), "its tensors claim 60129542116 bytes"),
    (lambda a, b: rewritten(a, b, compression=zipfile.ZIP_DEFLATED), "is compressed"),
    (lambda a, b: rewritten(a, b, lambda content: content[:-20]), "(newline|bytes)"),
    (lambda a, b: rewritten(a, b, lambda content: b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s."), "as a key"),
], ids=["storage of 400 GB", "beyond its storage", "one value repeated", "zip bomb", "cut pickle", "nested key"])
def test_a_forged_archive_is_named(tmp_path, form, forge, says):
    """Some of them end the process in torch's own reader, or take the memory that they claim."""
    path = tmp_path / "forged.pt"
    forge(saved(tmp_path, form), path)
    with pytest.raises(ValueError, match=f"forged.pt cannot be read as weights: .*{says}"):
        read_state_dict(path)


@pytest.mark.parametrize("names, says", [
    (["a/data.pkl", "a/DATA.pkl"], "entries of the same name"), (["a/data.pkl", "../../b"], "outside of its folder"),
    (["data.pkl"], "outside of its folder"), (["a/version"], "no entry 'data.pkl'")])
def test_odd_entries_of_an_archive_are_refused(tmp_path, names, says):
    with zipfile.ZipFile(tmp_path / "odd.pt", "w") as file:
        for name in names:
            file.writestr(name, pickle.dumps({}, protocol=2))
    with pytest.raises(ValueError, match=f"odd.pt .*{says}"):
        read_state_dict(tmp_path / "odd.pt")


def test_entries_that_overlap_are_refused(tmp_path):
    """Ten thousand entries of the same megabytes are ten thousand times as much memory."""
    path = tmp_path / "overlapping.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        file.writestr("a/data/0", bytes(1000))
        twin = zipfile.ZipInfo("a/data/1")
        known = file.infolist()[1]
        twin.header_offset, twin.CRC, twin.file_size, twin.compress_size = known.header_offset, known.CRC, 1000, 1000
        file.filelist.append(twin)
        file.NameToInfo["a/data/1"] = twin
    with pytest.raises(ValueError, match="overlapping.pt .*lies upon another"):
        read_state_dict(path)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("call, says", [
    ((bytearray, 10 ** 11), "empty bytearray"), ((torch.Tensor, 10 ** 11), "torch.Tensor"), ((print, "run"), "print"),
    ((set, [((1,),)]), "a tuple as a key")], ids=["bytearray", "tensor", "print", "nested key"])
def test_a_call_of_anything_but_weights_is_refused(tmp_path, old, call, says):
    """A weights-only load gives a file as much memory as it asks for: ``bytearray(10**11)``."""
    class Call:
        def __reduce__(self):
            return call[0], call[1:]

    torch.save({"weight": torch.zeros(1), "x": Call()}, tmp_path / "x.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match=f"x.pt .*{says}"):
        read_state_dict(tmp_path / "x.pt")


def test_a_pickle_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr(pickles, "MOST_INSTRUCTIONS", 100)
    with pytest.raises(ValueError, match="more than 100 instructions"):
        read_pickle(io.BytesIO(b"\x80\x02" + b"]" * 200 + b"."))


def test_what_training_saves_beside_weights_is_read(tmp_path):
    model = nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    content = dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict(),
                   parameter=nn.Parameter(torch.ones(2)),
                   odd=[b"\xff", bytearray(b"abc"), {1, 2}, 2j, torch.Size((1, 2)), torch.device("cpu"), torch.float16],
                   eight_bits=torch.ones(3).to(torch.float8_e4m3fn), repeated=torch.ones(1).expand(1000))
    for old in (False, True):
        if old:
            del content["eight_bits"]
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not old)
        loaded = load_file(tmp_path / "x.pth")
        assert loaded["odd"] == content["odd"] and loaded["optimizer"].keys() == optimizer.state_dict().keys()
        assert read_state_dict(tmp_path / "x.pth").keys() == {"weight", "bias"}


def test_prefixes_are_taken_away_however_often_they_stand(tmp_path):
    torch.save({"module.module.a": torch.zeros(1), "module.b": torch.zeros(1)}, tmp_path / "x.pt")
    assert list(read_state_dict(tmp_path / "x.pt")) == ["a", "b"]
    torch.save({"module.a": torch.zeros(1), "a": torch.ones(1)}, tmp_path / "two.pt")
    with pytest.raises(ValueError, match="two.pt .*two weights are a once"):
        read_state_dict(tmp_path / "two.pt")
    torch.save({3: torch.zeros(1)}, tmp_path / "three.pt")
    with pytest.raises(ValueError, match="three.pt .*the key 3 is no text"):
        read_state_dict(tmp_path / "three.pt")


@pytest.mark.parametrize("weight, says", [
    (lambda w: w.to(torch.complex64), r"conv1.weight is of the dtype torch.complex64"),
    (lambda w: w.to(torch.float8_e4m3fn), "conv1.weight is of the dtype torch.float8_e4m3fn; convert it"),
    (lambda w: w.to(torch.int64), "conv1.weight torch.int64 instead of torch.float32"),
    (lambda w: w.to_sparse(), "conv1.weight is a tensor in another form"),
    (lambda w: w.to("meta"), "conv1.weight is a tensor without values"),
    (lambda w: w[:0], r"conv1.weight \(0, 3, 8, 8\) instead of"),
    (lambda w: "text", "conv1.weight is a str, no tensor"),
    (lambda w: w / 0, "not finite .NaN or infinity.: conv1.weight; of a run that diverged.*read_state_dict"),
    (lambda w: w.half() * float("inf"), "not finite"),
], ids=["complex", "float8", "integers", "sparse", "meta", "empty", "text", "nan", "infinity"])
def test_weights_that_are_no_plain_finite_numbers_are_refused(weight, says):
    """Complex ones lost their imaginary part, integers became floats, and a diverged run's gave scores of NaN."""
    trunk = build_image_trunk(TINY)
    state_dict = dict(trunk.state_dict())
    state_dict["conv1.weight"] = weight(state_dict["conv1.weight"])
    with pytest.raises(WeightsDoNotFit, match=f"a file does not fit the model: .*{says}"):
        load_strict(trunk, state_dict, "a file")


def test_messages_stay_short(tmp_path):
    """One file of many or long names made messages of 100 million characters."""
    names = [*(f"{'k' * 100_000}{i}" for i in range(30)), *map(str, range(10_000))]
    weights = {name: torch.zeros(1) for name in names}
    for fails in (lambda: load_strict(build_image_trunk(TINY), weights, "a file"), lambda: convert_official(weights)):
        with pytest.raises(ValueError) as raised:
            fails()
        assert len(str(raised.value)) < 5000
    torch.save(dict.fromkeys(weights, 1), tmp_path / "x.pt")
    with pytest.raises(ValueError) as raised:
        read_state_dict(tmp_path / "x.pt")
    assert len(str(raised.value)) < 5000


def test_a_checkpoint_of_ours_needs_no_conversion():
    with pytest.raises(ValueError, match="a checkpoint of this project already"):
        convert_official({"backbone.visual.proj": torch.zeros(1)})
