"""Class lists and templates."""
import pytest
from toy import ROOT

from claver_mm.clip import tokenize
from claver_mm.language import ACTION_TEMPLATES, class_texts, read_lines, readable
from claver_mm.video.motion import MOTION_CLASSES


@pytest.mark.parametrize("name, text", [
    ("brush_hair", "brush hair"), ("BabyCrawling", "baby crawling"), ("TaiChi", "tai chi"), ("YoYo", "yo yo"),
    ("playing guitar", "playing guitar"), ("HandstandPushups", "handstand pushups"), ("Archery", "archery"),
    ("tying knot (not on a tie)", "tying knot (not on a tie)"),
    ("playing American football", "playing American football"),
])
def test_class_names_are_made_readable(name, text):
    assert readable(name) == text


def test_no_text_of_kinetics_is_longer_than_77_tokens(recwarn):
    """The published code raises on a text of 77 words."""
    classes = read_lines(ROOT / "prompts/classes/kinetics400.txt", "classes")
    texts = class_texts(classes)
    assert (len(classes), len(texts), {len(entry) for entry in texts}) == (400, 400, {len(ACTION_TEMPLATES)})
    assert tokenize([text for entry in texts for text in entry], "B/16").shape == (400 * len(ACTION_TEMPLATES), 77)
    assert not [warning for warning in recwarn if "is cut" in str(warning.message)]


def test_the_motion_classes_are_those_of_the_generator():
    assert read_lines(ROOT / "prompts/classes/motion.txt", "classes") == list(MOTION_CLASSES)


def test_the_templates_of_the_configs_are_those_of_the_code():
    assert read_lines(ROOT / "prompts/templates.txt", "templates") == list(ACTION_TEMPLATES)


def test_templates_must_have_a_place_for_the_name():
    with pytest.raises(ValueError, match="template 'a video' must hold"):
        class_texts(["jumping"], ["a video"])


@pytest.mark.parametrize("content, says", [
    ("a\n\nb\na\n", "classes.txt, line 4: 'a' stands in line 1 already"), ("\n \n", "no classes"),
    ("a\nb\na \n", "line 3: 'a' stands in line 1 already"),
    ("", "no classes"), ("caf\xe9", "classes.txt is no text in UTF-8"),
])
def test_a_bad_class_list_is_named(tmp_path, content, says):
    """A name that differed by a space at its end stood in the list twice."""
    (tmp_path / "classes.txt").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=says):
        read_lines(tmp_path / "classes.txt", "classes")


def test_a_class_list_may_come_from_an_editor_that_marks_its_encoding(tmp_path):
    """The mark became part of the first name, which no bank knew."""
    (tmp_path / "classes.txt").write_text("caf\xe9\nb\n", encoding="utf-8-sig")
    assert read_lines(tmp_path / "classes.txt", "classes") == ["caf\xe9", "b"]


def test_a_missing_class_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of classes at .*nowhere.txt"):
        read_lines(tmp_path / "nowhere.txt", "classes")
