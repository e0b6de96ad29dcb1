"""``claver recognize`` as one calls it."""
import json

import pytest
from claver_mm_cli import MISTAKE, main
from rankings import LABELS


def run_tool(*args) -> int:
    return main(["recognize", *map(str, args), "--device", "cpu", "--untrained", "--config", "claver_motion"])


def test_the_tool_prints_a_table_and_goes_on_after_a_video_it_cannot_read(video, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert run_tool(tmp_path / "broken.mp4", video, "--labels", *LABELS, "--top", 3) == 1
    said = capsys.readouterr()
    assert "broken.mp4 cannot be opened" in said.err
    lines = [line for line in said.out.splitlines() if line.startswith("  ")]
    assert len(lines) == 3 and all("%" in line for line in lines)
    assert video in said.out.splitlines()


def test_the_tool_prints_json_for_labels_from_a_file(video, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    assert run_tool(video, "--labels-file", tmp_path / "labels.txt", "--extra", "a dog sneezes", "--json", "--top",
                    11) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["video"] == video
    assert {entry["label"] for entry in record["labels"]} == {*LABELS, "a dog sneezes"}
    assert sum(entry["score"] for entry in record["labels"]) == pytest.approx(1)


def test_the_tool_prints_labels_of_any_script_as_they_are_written(video, capsys):
    labels = ["sauter à la corde", "бег", "السباحة", "तैरना", "跳绳"]
    assert run_tool(video, "--labels", *labels) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert len(lines) == 5 and all(any(line.startswith(f"  {label} ") for line in lines) for label in labels)


def test_the_commands_refuse_random_weights_and_say_what_they_take_for_a_label(video, capsys):
    """A video behind ``--labels`` became a label."""
    for name in ("recognize", "explain"):
        config = ["--config", "claver_motion"]
        assert main([name, video, *config, "--labels", "a", "b"]) == MISTAKE
        out, errors = capsys.readouterr()
        assert not out and "give --checkpoint, or ask for --untrained" in errors
        assert errors.startswith(f"claver {name}: error: ")
        assert main([name, *config, "--labels", "a", "b", video]) == MISTAKE
        assert "put the video" in capsys.readouterr().err


def test_a_video_below_the_threshold_shows_none_of_the_own_labels_and_may_show_others(video, tmp_path, capsys,
                                                                                     recognizer):
    recognizer.threshold = 1.0
    recognizer.save_pretrained(tmp_path / "sure")
    recognizer.threshold = None
    for words, doubtful in (([], True), (["--labels", *LABELS], False)):
        assert main(["recognize", video, "--model", str(tmp_path / "sure"), "--device", "cpu", *words]) == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert first == (f"{video}: none of these; no label reaches 100.0 %" if doubtful else video)
