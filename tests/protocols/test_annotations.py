"""One parser reads annotation lists, for the data set and for the lists of protocols."""
import pytest

from claver_mm.protocols.annotations import read_annotations
from claver_mm.protocols.lists import read_list, write_list

CLASSES = [f"class {number}" for number in range(12)]


def both(tmp_path, text):
    """What the data set's parser makes of a list, and what the protocols' does."""
    (tmp_path / "list.txt").write_bytes(text.encode())
    found = []
    for read in (lambda path: [(line.path, line.labels[0]) for line in read_annotations(path, num_classes=12)],
                 lambda path: [tuple(video) for video in read_list(path, CLASSES)]):
        try:
            found.append(read(tmp_path / "list.txt"))
        except ValueError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("text, lines", [
    ("a b.mp4 1\n", [("a b.mp4", 1)]), ("a.mp4\t2\n", [("a.mp4", 2)]), ("a\tb.mp4 \t 2 \n", [("a\tb.mp4", 2)]),
    ("a\u2028b.mp4 1\nc\u2029\x85\x0b\x0cd.mp4 2\n", [("a\u2028b.mp4", 1), ("c\u2029\x85\x0b\x0cd.mp4", 2)]),
    ("\ufeffa.mp4 1\r\nb.mp4 02\r\n\r\n", [("a.mp4", 1), ("b.mp4", 2)]), ("x 1 2.mp4  11", [("x 1 2.mp4", 11)]),
])
def test_lines_are_the_same_to_both(tmp_path, text, lines):
    """A name with U+2028, as titles copied from web pages have, was two lines to one of two parsers."""
    assert both(tmp_path, text) == [lines, lines]


@pytest.mark.parametrize("label, says", [
    ("1_0", "label '1_0' is no number"), ("+0", "label '\\+0' is no number"),
    ("-1", "label -1 is none of the 12 classes"),
    ("12", "label 12 is none of the 12 classes"), ("1.0", "is no number"), ("\u0663", "is no number"),
    ("9" * 5000, "is no number")])
def test_labels_are_refused_by_both(tmp_path, label, says):
    """``1_0`` was class 10 to one parser, and no number to the other."""
    first, second = both(tmp_path, f"a.mp4 {label}\n")
    assert first == second
    with pytest.raises(ValueError, match=f"list.txt, line 1: {says}" if "label" in says else says):
        read_annotations(tmp_path / "list.txt", num_classes=12)


def test_what_is_written_is_what_is_read(tmp_path):
    videos = read_list(write(tmp_path, "a\u2028b.mp4 1\nc  d.mp4 3\n"), CLASSES)
    write_list(tmp_path / "again.txt", videos)
    assert read_list(tmp_path / "again.txt", CLASSES) == videos


def write(tmp_path, text):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    return tmp_path / "list.txt"


def test_other_delimiters_and_several_labels(tmp_path):
    path = write(tmp_path, "a b.mp4, 1,2\n")
    assert read_annotations(path, ",", multi_class=True)[0][2:] == ("a b.mp4", [1, 2])
    assert read_annotations(write(tmp_path, "a.mp4  1\t2\n"), multi_class=True)[0].labels == [1, 2]
    assert read_annotations(write(tmp_path, "a,b.mp4,2\n"), ",")[0][2:] == ("a,b.mp4", [2])
