"""``claver lists``."""
import pytest
from claver_mm_cli import MISTAKE, main
from splits import classes_of, write_hmdb51

from claver_mm.protocols import draw_few_shot, read_hmdb51, read_list

HMDB = classes_of("hmdb51")


def make(*arguments):
    return main(["lists", *map(str, arguments)])


@pytest.fixture
def train(tmp_path):
    write_hmdb51(tmp_path / "splits", train=4)
    make("hmdb51", tmp_path / "splits", "--out", tmp_path)
    return tmp_path / "hmdb51_train_split_1_videos.txt"


def test_lists_are_called_as_mmaction2_calls_them(train, tmp_path):
    assert read_list(train, HMDB) == read_hmdb51(tmp_path / "splits", 1, "train", HMDB)
    assert len(read_list(tmp_path / "hmdb51_val_split_3_videos.txt", HMDB)) == 51


def test_few_shot_lists_are_drawn_or_mapped(train, tmp_path, capsys):
    few_shot = ("few-shot", train, "--classes", "hmdb51", "--out", tmp_path)
    make(*few_shot, "--shots", 2, 4, "--seed", 5)
    drawn = read_list(tmp_path / "train_2shot_seed5.txt", HMDB)
    assert drawn == draw_few_shot(read_list(train, HMDB), HMDB, 2, seed=5)
    make(*few_shot, "--shots", 2, "--published", tmp_path / "train_2shot_seed5.txt")
    assert read_list(tmp_path / "train_2shot_train_2shot_seed5.txt", HMDB) == drawn
    capsys.readouterr()
    assert make(*few_shot, "--shots", 8) == MISTAKE
    assert "claver lists: error: class 'brush_hair' has 4 training videos, 8 are to be drawn" in capsys.readouterr().err


def test_what_cannot_be_honoured_is_refused(train, tmp_path, capsys):
    """A seed beside a published file was ignored; a folder in place of a file left half a list and a traceback."""
    assert MISTAKE == \
        make("few-shot", train, "--classes", "c.txt", "--shots", 2, "--published", "p.txt", "--seed", 1, "--out", "o")
    assert "--seed has no meaning with --published" in capsys.readouterr().err
    (tmp_path / "k.csv").write_text("label,youtube_id,time_start,time_end,split\nwaking up,abc,1,11,test\n")
    (tmp_path / "folder").mkdir()
    assert make("kinetics600", tmp_path / "k.csv", "--out", tmp_path / "folder") == MISTAKE
    assert "folder is a folder; name a file to write" in capsys.readouterr().err
    assert make("few-shot", train, "--classes", "hmdb15", "--out", "o") == MISTAKE
    assert "hmdb51, kinetics400" in capsys.readouterr().err
    assert not list(tmp_path.glob("folder.*"))


def test_kinetics_lists_come_from_csv_files(tmp_path, capsys):
    (tmp_path / "k.csv").write_text("label,youtube_id,time_start,time_end,split\nwaking up,abc,1,11,test\n")
    make("kinetics600", tmp_path / "k.csv", "--out", tmp_path / "k.txt", "--folders", "underscores")
    number = classes_of("kinetics600").index("waking up")
    assert (tmp_path / "k.txt").read_text() == f"waking_up/abc_000001_000011.mp4 {number}\n"
    assert capsys.readouterr().out == f"{tmp_path / 'k.txt'}: 1 videos of 1 classes\n"
