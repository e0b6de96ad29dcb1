"""Few-shot draws are the same everywhere; published files are mapped onto the local list or refused."""
import os
import subprocess
import sys

import pytest
from toy import ROOT

from claver_mm.protocols import Video, draw_few_shot, read_few_shot

CLASSES = ["clap", "wave"]
EXPECTED = ["clap/clap_2.avi", "clap/clap_0.avi", "wave/wave_4.avi", "wave/wave_3.avi"]
VIDEOS = [Video(f"{name}/{name}_{i}.avi", label) for label, name in enumerate(CLASSES) for i in range(6)]
DRAW = f"""
import sys, types
package = sys.modules["claver_mm"] = types.ModuleType("claver_mm")  # the protocols alone, which import in no time
package.__path__ = [{str(ROOT / "claver_mm")!r}]
from claver_mm.protocols import Video, draw_few_shot
print(*(path for path, _ in draw_few_shot([Video(*video) for video in {list(map(tuple, VIDEOS))}], {CLASSES}, 4)))
"""


def test_a_draw_is_that_of_sha256_sums_made_by_hand():
    """`printf '0:clap_0' | sha256sum` and so on; `sort` gives the order."""
    assert [video.path for video in draw_few_shot(VIDEOS, CLASSES, 2, seed=0)] == EXPECTED


def test_draws_do_not_change_with_order_format_or_folders():
    first = draw_few_shot(VIDEOS, CLASSES, 4, seed=3)
    assert draw_few_shot(VIDEOS[::-1], CLASSES, 4, seed=3) == first
    elsewhere = [Video(f"/data/{path.split('/')[1][:-4]}.mp4", label) for path, label in VIDEOS]
    assert [video.path[6:-4] for video in draw_few_shot(elsewhere, CLASSES, 4, seed=3)] == [
        video.path.split("/")[1][:-4] for video in first]
    assert draw_few_shot(VIDEOS, CLASSES, 4, seed=4) != first


def test_draws_do_not_change_between_processes():
    for hash_seed in ("1", "2"):
        output = subprocess.run([sys.executable, "-c", DRAW], env=dict(os.environ, PYTHONHASHSEED=hash_seed),
                                capture_output=True, text=True).stdout
        assert output == " ".join(video.path for video in draw_few_shot(VIDEOS, CLASSES, 4)) + "\n"


def test_a_smaller_draw_is_part_of_a_larger_one():
    draws = [draw_few_shot(VIDEOS, CLASSES, shots) for shots in (1, 2, 4, 6)]
    assert [len(draw) for draw in draws] == [2, 4, 8, 12]
    assert all(set(small) < set(large) for small, large in zip(draws, draws[1:]))
    assert set(draws[-1]) == set(VIDEOS)


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match="class 'wave' has 5 training videos, 6 are to be drawn"):
        draw_few_shot(VIDEOS[:-1], CLASSES, 6)
    with pytest.raises(ValueError, match="class 'jump' has 0 training videos, 2"):
        draw_few_shot(VIDEOS, [*CLASSES, "jump"], 2)
    with pytest.raises(ValueError, match="has the video 'clap_0' twice: clap/clap_0.avi, new/clap_0.mp4"):
        draw_few_shot([*VIDEOS, Video("new/clap_0.mp4", 0)], CLASSES, 2)
    with pytest.raises(ValueError, match="shots must be at least 1, got 0"):
        draw_few_shot(VIDEOS, CLASSES, 0)


@pytest.mark.parametrize("lines", [
    "clap_3.avi 0\nwave_1.avi 1\n", "clap_3 0\nwave_1 1\n",
    "/home/us/hmdb/clap/clap_3.mp4 0\n\n../wave/wave_1.mp4\t1\n",
    "clap\\clap_3.AVI 0\r\nwave\\wave_1.AVI 1\r\n"], ids=["names", "no suffix", "absolute", "windows"])
def test_published_files_are_mapped_onto_the_local_list(tmp_path, lines):
    (tmp_path / "published.txt").write_text(lines)
    assert read_few_shot(tmp_path / "published.txt", VIDEOS, CLASSES, 1) == [VIDEOS[3], VIDEOS[7]]


@pytest.mark.parametrize("lines, says", [
    ("clap_3 0\nclap_7 0\nwave_9 1\n", r"names 2 videos that .* has not: clap_7 \(line 2\), wave_9 \(line 3\)"),
    ("clap_3 1\n", r"published.txt, line 1: clap_3 has the label 1, in the local list it is 0 \('clap'\)"),
    ("clap_3 0\nx/clap_3.avi 0\n", "line 2: x/clap_3.avi stands there twice"),
    ("clap_3 0\nwave_0 1\nwave_1 1\n", "has 2 videos of class 'wave', 1 are expected"),
    ("clap_3 0\n", "has 0 videos of class 'wave', 1 are expected"),
    ("clap_3\n", "line 1: 'clap_3' has no label"),
])
def test_published_files_that_do_not_fit_are_refused(tmp_path, lines, says):
    (tmp_path / "published.txt").write_text(lines)
    with pytest.raises(ValueError, match=says):
        read_few_shot(tmp_path / "published.txt", VIDEOS, CLASSES, 1)
