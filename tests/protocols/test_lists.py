"""Annotation lists: official files become ``path label``, and what disagrees with the class list is named."""
import pytest
from splits import classes_of, write_hmdb51, write_ucf101

from claver_mm.protocols.lists import (
    ClassNumbers,
    Video,
    read_hmdb51,
    read_kinetics,
    read_list,
    read_ucf101,
    restrict,
    stem,
    write_list,
)

UCF, HMDB, K600 = (classes_of(name) for name in ("ucf101", "hmdb51", "kinetics600"))
CSV = "label,youtube_id,time_start,time_end,split\n"


def put(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("split", [1, 2, 3])
def test_ucf101_is_read_from_its_split_files(tmp_path, split):
    write_ucf101(tmp_path / "s")
    train, test = (read_ucf101(tmp_path / "s", split, subset, UCF) for subset in ("train", "test"))
    assert train[:3] == [(f"ApplyEyeMakeup/v_ApplyEyeMakeup_g{8 + split:02d}_c00.avi", 0),
                         (f"ApplyEyeMakeup/v_ApplyEyeMakeup_g{8 + split:02d}_c01.avi", 0),
                         (f"ApplyLipstick/v_ApplyLipstick_g{8 + split:02d}_c00.avi", 1)]
    assert test == [(f"{name}/v_{name}_g0{split}_c01.avi", number) for number, name in enumerate(UCF)]


def test_hmdb51_is_read_from_its_split_files(tmp_path):
    write_hmdb51(tmp_path / "s")
    train, test = (read_hmdb51(tmp_path / "s", 2, subset, HMDB) for subset in ("train", "test"))
    assert train[:2] == [("brush_hair/A_film!_(part_2)_brush_hair_0.avi", 0),
                         ("brush_hair/A_film!_(part_2)_brush_hair_1.avi", 0)]
    assert test == [(f"{name}/Other_2_{name}_0.avi", number) for number, name in enumerate(HMDB)]


@pytest.mark.parametrize("folders, path", [
    (None, "_-abc_000010_000020.mp4"), ("names", "waking up/_-abc_000010_000020.mp4"),
    ("underscores", "waking_up/_-abc_000010_000020.mp4")])
def test_kinetics_is_read_from_its_csv(tmp_path, folders, path):
    file = put(tmp_path / "k.csv", CSV + '"waking up",_-abc,10,20.0,test\n')
    assert read_kinetics(file, K600, folders) == [(path, K600.index("waking up"))]


@pytest.mark.parametrize("name", ["kinetics400", "kinetics600", "ucf101", "hmdb51"])
def test_no_two_classes_are_one_but_for_how_they_are_written(name):
    numbers = ClassNumbers(classes_of(name))
    shouted = [one.replace(" ", "_").upper() for one in classes_of(name)]
    assert [numbers.get(one) for one in shouted] == list(range(len(shouted)))


def test_lists_are_read_as_they_were_written(tmp_path):
    videos = [Video("brush hair/a b.avi", 0), Video("flat.mp4", 50)]
    write_list(tmp_path / "new/list.txt", videos)
    assert read_list(tmp_path / "new/list.txt", HMDB) == videos
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["list.txt"]


def test_the_data_set_reads_what_is_written(tmp_path):
    from mmaction.registry import DATASETS
    write_list(tmp_path / "list.txt", [Video("clap/a b.avi", 4)])
    data = DATASETS.build(dict(type="ActionVideoDataset", ann_file=str(tmp_path / "list.txt"), pipeline=[],
                               data_prefix=dict(video="videos"), classes=HMDB))
    assert (data[0]["filename"], data[0]["label"]) == ("videos/clap/a b.avi", 4)


def test_chosen_classes_are_numbered_anew():
    videos = [Video("a", 0), Video("b", 1), Video("c", 2), Video("d", 0)]
    assert restrict(videos, ["x", "y", "z"], ["z", "x"]) == [("a", 1), ("c", 0), ("d", 1)]
    with pytest.raises(ValueError, match="'w' is none of the 3 classes"):
        restrict(videos, ["x", "y", "z"], ["w"])
    with pytest.raises(ValueError, match="1 of 2 classes have no video in the list, among them 'z'"):
        restrict(videos[:2], ["x", "y", "z"], ["x", "z"])


@pytest.mark.parametrize("path, name", [
    ("/data/ucf/v_A_g01_c01.avi", "v_A_g01_c01"), ("v_A_g01_c01", "v_A_g01_c01"), ("C:\\x\\v.1.MP4", "v.1"),
    ("v.1", "v.1")])
def test_the_stem_of_a_video_is_its_name_alone(path, name):
    assert stem(path) == name


@pytest.mark.parametrize("file, line, text, says", [
    ("classInd.txt", 2, "2 Archery", "classInd.txt, line 2: 'Archery' has the number '2', in the class list it is 3"),
    ("classInd.txt", 3, "3 Bowing", "classInd.txt, line 3: 'Bowing' is none of the 101 classes"),
    ("trainlist01.txt", 1, "Archery/v.avi 1", "trainlist01.txt, line 1: 'Archery' has the number '1', .* is 3 from 1"),
    ("trainlist01.txt", 1, "Archery/v.avi", "trainlist01.txt, line 1: 'Archery' has the number ''"),
    ("testlist01.txt", 4, "Archry/v.avi", "testlist01.txt, line 4: 'Archry' is none"),
])
def test_a_bad_line_of_ucf101_is_named(tmp_path, file, line, text, says):
    write_ucf101(tmp_path / "s")
    lines = (tmp_path / "s" / file).read_text().splitlines()
    lines[line - 1] = text
    (tmp_path / "s" / file).write_text("\n".join(lines))
    with pytest.raises(ValueError, match=says):
        for subset in ("train", "test"):
            read_ucf101(tmp_path / "s", 1, subset, UCF)


def test_a_bad_file_of_hmdb51_is_named(tmp_path):
    write_hmdb51(tmp_path / "s")
    put(tmp_path / "s/clap_test_split1.txt", "a.avi 1\nb.avi 3\n")
    with pytest.raises(ValueError, match="clap_test_split1.txt, line 2: 'b.avi 3' is not 'video.avi mark'"):
        read_hmdb51(tmp_path / "s", 1, "train", HMDB)
    put(tmp_path / "s/yawn_test_split2.txt", "a.avi 1\n")
    with pytest.raises(ValueError, match="yawn_test_split2.txt: 'yawn' is none of the 51 classes"):
        read_hmdb51(tmp_path / "s", 2, "train", HMDB)
    (tmp_path / "s/wave_test_split3.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no file at .*wave_test_split3.txt"):
        read_hmdb51(tmp_path / "s", 3, "train", HMDB)


@pytest.mark.parametrize("text, says", [
    ("youtube_id,time_start,time_end,split\nabc,1,11,test\n", "line 1: no column label; there are test files with"),
    (CSV + "arguing,a,1,11,test\nargueing,b,1,11,test\n", "line 3: 'argueing' is none of the 600 classes"),
    (CSV + "arguing,a,one,11,test\n", "line 2: times 'one', '11' are no seconds"),
    (CSV + "arguing,a\n", "line 2: times None, None are no seconds"),
    (CSV, "lists no video"),
])
def test_a_bad_line_of_kinetics_is_named(tmp_path, text, says):
    with pytest.raises(ValueError, match=f"k.csv.* ?{says}"):
        read_kinetics(put(tmp_path / "k.csv", text), K600)
    with pytest.raises(ValueError, match="unknown folders 'flat'; one of names, underscores"):
        read_kinetics(tmp_path / "k.csv", K600, "flat")


@pytest.mark.parametrize("text, says", [
    ("a.avi 0\nb.avi\n", "list.txt, line 2: 'b.avi' has no label"),
    ("a.avi clap\n", "line 1: label 'clap' is no number"),
    ("a.avi -1\n", "line 1: label -1 is none of the 51 classes"),
    ("a.avi 51\n", "line 1: label 51 is none of the 51 classes"),
    ("clap/a.avi 3\n", "line 1: label 3 is 'chew', but the video lies in 'clap', which is 4"),
    ("\n", "lists no video"),
])
def test_a_bad_line_of_a_list_is_named(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        read_list(put(tmp_path / "list.txt", text), HMDB)


@pytest.mark.parametrize("read", [read_list, read_kinetics])
def test_a_file_that_is_no_text_is_named(tmp_path, read):
    """The message of the codec alone says neither which file nor what to do."""
    (tmp_path / "video.mp4").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match="video.mp4 is no text in UTF-8"):
        read(tmp_path / "video.mp4", HMDB)


def test_splits_and_subsets_are_those_that_there_are(tmp_path):
    for split, subset in ((4, "train"), (1, "val")):
        with pytest.raises(ValueError, match="there are 1, 2 and 3, each with train and test"):
            read_ucf101(tmp_path, split, subset, UCF)
    with pytest.raises(ValueError, match="the class list has 'a_b' twice but for case"):
        ClassNumbers(["a_b", "A b"])
