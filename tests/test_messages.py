"""Foreign text in messages."""
import pytest

from claver_mm.messages import listed, quoted, shown


@pytest.mark.parametrize("text, says", [
    ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"), ("\x9b31m", r"\x9b31m"),
    ("a\u202eb\u2066", r"a\u202eb\u2066"), ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    ("\ud800", r"\ud800"), ("two\nlines\r", r"two lines\r"),
    ("caf\u00e9 \u6f22", "caf\u00e9 \u6f22"), (ValueError("x\x00"), r"x\x00")])
def test_what_a_terminal_obeys_or_hides_is_written_as_an_escape(text, says):
    """A server's escape codes cleared the screen of whoever read its error."""
    assert shown(text) == says
    assert not isinstance(text, str) or quoted(text).isprintable()


@pytest.mark.parametrize("value", [
    "x" * 10 ** 7, b"x" * 10 ** 7, ["x" * 10 ** 6] * 10 ** 5, dict.fromkeys(range(10 ** 4), "x" * 1000),
    10 ** 10 ** 5, [[[[[["\x1b"] * 9] * 9] * 9] * 9] * 9] * 9],
    ids=["text", "bytes", "list", "dict", "integer", "nest"])
def test_a_message_stays_short_whatever_is_in_it(value):
    """One broken input made a message of 100 million characters."""
    for said in (quoted(value), listed([value] * 100)) + ((shown(value),) if isinstance(value, str) else ()):
        assert len(said) < 1000 and said.isprintable()


def test_what_is_left_out_is_told():
    assert shown("x" * 250) == "x" * 200 + "... (50 characters more)"
    assert listed(["a", "b", "c"], 2) == "'a', 'b' and 1 more" and quoted("it's") == '"it\'s"'
