"""The check of a data set before a run."""
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import av
import pytest
from claver_mm_cli import MISTAKE, STOPPED, main
from toy import ROOT

from claver_mm.video import checks


@pytest.fixture
def folder(motion_videos, tmp_path):
    """Good videos of 16 frames in a folder and in a shard, and one of each kind that is not good."""
    good = (motion_videos / "train.txt").read_text().split()[::2][:4]
    for number, name in enumerate(good):
        (tmp_path / f"good {number}.mp4").write_bytes((motion_videos / name).read_bytes())
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        archive.add(tmp_path / "good 0.mp4", "a.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "good 0.mp4").read_bytes()[:300])
    names = ["good 0", "text", "good 1", "empty", "cut", "missing", "good 2", "good 3"]
    lines = [f"{name}.mp4 {label}" for label, name in enumerate(names)] + ["0.tar/a.mp4 1", "0.tar/b.mp4 2"]
    (tmp_path / "list.txt").write_text("\n".join([*lines[:3], "", *lines[3:]]) + "\n")
    return tmp_path


def check(folder, *args):
    """Exit status, report and cleaned lines."""
    status = main(["check-data", str(folder / "list.txt"), "--videos", str(folder), "--workers", "2", "--report",
                   str(folder / "out/report.json"), *map(str, args)])
    return status, json.loads((folder / "out/report.json").read_text()), (
        folder / "out/list.cleaned.txt").read_text().splitlines()


def test_what_is_missing_unreadable_and_empty_is_named_and_left_out(folder, capsys):
    status, report, cleaned = check(folder)
    assert status == 1 and (report["videos"], report["checked"]) == (10, 10)
    found = {entry["video"].removeprefix(f"{folder}/"): (entry["line"], entry["problem"]) for entry in report["found"]}
    assert found == {"text.mp4": (2, "unreadable"), "empty.mp4": (5, "empty"), "cut.mp4": (6, "unreadable"),
                     "missing.mp4": (7, "missing"), "0.tar/b.mp4": (11, "missing")}
    assert all(entry["video"].split("/")[-1] in entry["message"] for entry in report["found"])
    assert report["counts"] == dict(missing=2, empty=1, unreadable=2, short=0, crashed=0, hung=0)
    assert cleaned == ["good 0.mp4 0", "good 1.mp4 2", "good 2.mp4 6", "good 3.mp4 7", "0.tar/a.mp4 1"]
    assert "10 of 10 videos checked, 5 found" in capsys.readouterr().out


def test_a_clean_list_passes_and_a_video_that_is_too_short_does_not(folder):
    (folder / "list.txt").write_text("good 0.mp4 0\ngood 1.mp4 1\n")
    assert check(folder, "--min-frames", 16)[0] == 0
    status, report, cleaned = check(folder, "--min-frames", 17, "--frames", 0)
    assert status == 1 and cleaned == [] and report["counts"]["short"] == 2
    assert "has 16 frames, fewer than 17" in report["found"][0]["message"]


def test_what_is_cut_off_is_found_and_what_costs_a_forward_decode_is_listed(folder, capsys):
    """A download that broke off passed for whole, and nothing was found in files whose time stamps lie."""
    data = (folder / "good 0.mp4").read_bytes()
    place = data.index(b"moov") - 4  # in front, as for the web
    (folder / "part.mp4").write_bytes((data[:28] + data[place:] + data[28:place])[:-20])
    with av.open(str(folder / "good 1.mp4")) as old, av.open(str(folder / "twice.ts"), "w") as new:
        stream = new.add_stream("mpeg2video", rate=25, options=dict(bf="2"))
        stream.width, stream.height, stream.pix_fmt = 40, 32, "yuv420p"
        for frame in old.decode(video=0):
            new.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")))
        new.mux(stream.encode(None))
    (folder / "twice.ts").write_bytes((folder / "twice.ts").read_bytes() * 2)
    (folder / "list.txt").write_text("good 0.mp4 0\npart.mp4 1\ntwice.ts 1\n")
    status, report, cleaned = check(folder)
    assert status == 1 and cleaned == ["good 0.mp4 0", "twice.ts 1"]
    assert "part.mp4 cannot be opened as a video: pyav: the file is cut off" in report["found"][0]["message"]
    assert report["forward_decode"] == [f"{folder}/twice.ts: packets share their time stamps"]
    assert "1 cost a forward decode" in capsys.readouterr().out


def test_a_sample_is_drawn_by_its_seed_and_leaves_the_rest_of_the_list(folder):
    runs = [check(folder, "--sample", 4, "--seed", seed)[1:] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] and runs[0][0]["checked"] == 4
    assert len(runs[0][1]) == 10 - len(runs[0][0]["found"])
    assert runs[0][0]["found"] != runs[2][0]["found"]


def test_a_video_that_crashes_or_hangs_the_decoder_is_named_and_does_not_stop_the_check(folder, monkeypatch):
    honest = checks.check_video

    def check_video(path, settings):
        if "good 1" in path:
            os._exit(3)
        if "good 2" in path:
            time.sleep(60)
        return honest(path, settings)

    monkeypatch.setattr(checks, "check_video", check_video)
    began = time.monotonic()
    status, report, cleaned = check(folder, "--timeout", 2)
    assert time.monotonic() - began < 30
    problems = {entry["video"].split("/")[-1]: entry for entry in report["found"]}
    assert problems["good 1.mp4"]["problem"] == "crashed" and "exit code 3" in problems["good 1.mp4"]["message"]
    assert problems["good 2.mp4"]["problem"] == "hung" and "within 2 seconds" in problems["good 2.mp4"]["message"]
    assert status == 1 and len(report["found"]) == 7 and cleaned == ["good 0.mp4 0", "good 3.mp4 7", "0.tar/a.mp4 1"]


@pytest.mark.parametrize("text, says", [
    ("", "list.txt is empty"), ("a.mp4\n", "list.txt, line 1: 'a.mp4' has no label"), (None, "no annotation list at"),
    ("a.mp4 0\nb.mp4 jump\n", "list.txt, line 2: label 'jump' is no number"),
])
def test_a_list_that_no_run_would_take_is_no_check(tmp_path, monkeypatch, capsys, text, says):
    """A label that is no number passed the check, and stopped the run."""
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["check-data", str(tmp_path / "list.txt")]) == MISTAKE
    assert says in capsys.readouterr().err


def test_ctrl_c_ends_the_check_in_one_line(folder):
    """Each worker printed where it was, and so did the tool. A background job ignores Ctrl-C unless told."""
    code = ("import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "sys.path.insert(0, 'tools'); import claver_mm_cli; claver_mm_cli.without_host = True; "
            "from claver_mm.protocols import list_checks; from claver_mm.video import checks; "
            "checks.check_video = lambda path, settings: time.sleep(60); "
            "list_checks.tqdm = lambda findings, **_: print('begun', flush=True) or findings; claver_mm_cli.entry()")
    run = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, "check-data", folder / "list.txt", "--report",
                            folder / "report.json", "--workers", "2"], cwd=ROOT, text=True, start_new_session=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout.readline() == "begun\n"
    time.sleep(1)
    os.killpg(run.pid, signal.SIGINT)
    said = run.communicate(timeout=30)[1].splitlines()
    assert run.returncode == STOPPED and said[-1].startswith("claver check-data: interrupted; no list")
    assert not any("Traceback" in line for line in said) and not (folder / "report.json").exists()


@pytest.mark.parametrize("args, says", [
    (["--workers", "0"], "--workers must be above 0"), (["--decoders", "vlc"], "out of pyav, decord"),
    (["--cleaned", "list.txt"], "is the list itself"), (["--report", "/tmp"], "--report /tmp is a folder"),
])
def test_options_that_make_no_sense_are_refused(tmp_path, monkeypatch, capsys, args, says):
    monkeypatch.chdir(tmp_path)
    assert main(["check-data", "list.txt", *args]) == MISTAKE
    assert says in capsys.readouterr().err


def test_the_damaged_clip_is_found(clips, tmp_path):
    (tmp_path / "list.txt").write_text("arm_wrestling.mp4 0\ncorrupted.mp4 1\n")
    status, report, cleaned = check(tmp_path, "--videos", clips)
    assert status == 1 and cleaned == ["arm_wrestling.mp4 0"]
    assert [entry["problem"] for entry in report["found"]] == ["unreadable"]
