"""What a protocol trains and tests on, and what it says where data are missing."""
import pytest
from splits import classes_of, write_hmdb51, write_ucf101

from claver_mm.protocols import plan

UCF, HMDB = classes_of("ucf101"), classes_of("hmdb51")


def test_zero_shot_tests_each_split_once(tmp_path):
    write_ucf101(tmp_path / "ucfTrainTestlist")
    runs = plan.zero_shot("ucf101", tmp_path, UCF)
    assert [run.name for run in runs] == ["split1", "split2", "split3"] and not any(run.train for run in runs)
    assert [run.tests["top-1"].videos[0].path[-11:] for run in runs] == [f"g0{i}_c01.avi" for i in (1, 2, 3)]
    assert runs[0].tests["top-1"].source == str(tmp_path / "ucfTrainTestlist")


def test_few_shot_trains_and_tests_on_split_1(tmp_path):
    write_hmdb51(tmp_path / "annotations", train=4)
    runs = plan.few_shot("hmdb51", tmp_path, HMDB, shots=(2, 4), seeds=(0, 1))
    assert [run.name for run in runs] == ["2shot_seed0", "2shot_seed1", "4shot_seed0", "4shot_seed1"]
    assert [len(run.train.videos) for run in runs] == [102, 102, 204, 204]
    assert all("(part_1)" in video.path for run in runs for video in run.train.videos)
    assert all(video.path.split("/")[1].startswith("Other_1_") for video in runs[0].tests["K=2"].videos)
    assert list(runs[-1].tests) == ["K=4"]


def test_few_shot_takes_published_files(tmp_path):
    write_hmdb51(tmp_path / "annotations")
    (tmp_path / "theirs.txt").write_text("".join(f"A_film!_(part_1)_{name}_1.avi {i}\n" for i, name in enumerate(HMDB)))
    [run] = plan.few_shot("hmdb51", tmp_path, HMDB, shots=[1], published=[tmp_path / "theirs.txt"])
    assert [video.path for video in run.train.videos] == [f"{name}/A_film!_(part_1)_{name}_1.avi" for name in HMDB]
    assert run.train.source == str(tmp_path / "theirs.txt")
    with pytest.raises(ValueError, match="1 few-shot files for 2 numbers of shots"):
        plan.few_shot("hmdb51", tmp_path, HMDB, shots=[1, 2], published=[tmp_path / "theirs.txt"])


def test_base_to_novel_numbers_both_halves_from_0(tmp_path):
    write_hmdb51(tmp_path / "annotations")
    [run] = plan.base_to_novel("hmdb51", tmp_path, HMDB, shots=2)
    assert len(run.train.videos) == 52 and run.train.classes == run.tests["base"].classes == HMDB[:26]
    assert [video.label for video in run.tests["novel"].videos] == list(range(25))
    assert run.tests["novel"].classes == HMDB[26:]


def test_lists_of_mmaction2_serve_where_there_are_no_split_files(tmp_path):
    for split in (1, 2, 3):
        (tmp_path / f"hmdb51_val_split_{split}_videos.txt").write_text(f"wave/{split}.avi 50\n")
    runs = plan.zero_shot("hmdb51", tmp_path, HMDB)
    assert [run.tests["top-1"].videos for run in runs] == [[(f"wave/{split}.avi", 50)] for split in (1, 2, 3)]
    with pytest.raises(FileNotFoundError, match="no split files in .*/annotations or .*testTrainMulti_7030_splits .* "
                                                "no list of MMAction2 at .*hmdb51_train_split_1_videos.txt"):
        plan.few_shot("hmdb51", tmp_path, HMDB)


def test_draws_of_kinetics600_need_a_video_of_every_class(tmp_path):
    (tmp_path / "test.csv").write_text("label,youtube_id,time_start,time_end,split\narguing,abc,1,11,test\n")
    with pytest.raises(ValueError, match="159 of 160 classes have no video in the list, among them 'acting in play'"):
        plan.zero_shot_kinetics600(tmp_path / "test.csv", classes_of("kinetics600"))


def test_unknown_protocols_are_named():
    with pytest.raises(ValueError, match="unknown protocol 'zero-shot'; one of zero-shot-ucf101"):
        plan.dataset_of("zero-shot")
