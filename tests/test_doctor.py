"""What the doctor finds."""
import json

import pytest
from claver_mm_cli import main

from claver_mm import compat, doctor


@pytest.fixture
def installed(monkeypatch):
    """Makes distributions seem installed, in a version, or absent."""
    honest = doctor._version

    def pretend(**changes):
        changes = {name.replace("_", "-"): version for name, version in changes.items()}
        monkeypatch.setattr(doctor, "_version", lambda name: changes[name] if name in changes else honest(name))
    return pretend


def whats(report, level):
    return [finding["what"] for finding in report["findings"] if finding["level"] == level]


def test_a_sound_machine_lacks_nothing_and_all_is_said_twice(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and not whats(report, "missing")
    assert report["remedies"] == compat.APPLIED and report["decoders"][0] == dict(name="pyav", installed=True)
    assert {(one["pattern"], one["dtype"]) for one in report["attention"]} == {
        (pattern, dtype) for pattern in ("kmt", "kmct") for dtype in ("float32", "bfloat16")}
    text = doctor.as_text(report)
    for part in ("versions", report["versions"]["torch"], "CPU capability", "active: quiet_host_warnings", "findings"):
        assert part in text


def test_what_is_missing_is_named_with_its_remedy_and_fails(installed, capsys):
    installed(av=None, sentencepiece=None)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "missing: av is not installed; pip install av" in said and "note: sentencepiece is not installed" in said


def test_two_packages_of_one_folder_are_a_warning(installed):
    installed(mmcv="2.1.0", mmcv_lite="2.1.0")
    assert "mmcv and mmcv-lite are both installed and own the same files" in whats(doctor.doctor(), "warning")
    installed(mmcv=None, mmcv_lite=None)
    assert "mmcv is not installed" in whats(doctor.doctor(), "missing")


def test_a_host_that_breaks_is_named_and_ends_nothing(monkeypatch):
    def broken(name, package):
        raise RuntimeError("no numpy 1 here")
    monkeypatch.setattr(doctor, "import_module", broken)
    report = doctor.doctor()
    assert whats(report, "missing") == ["MMAction2 cannot be imported: RuntimeError: no numpy 1 here"]
    assert not report["ok"] and report["remedies"] == {}


def test_remedies_tell_whether_they_were_needed(monkeypatch):
    """Nobody could say which of them a machine needs."""
    assert set(compat.APPLIED) >= {"stub_drn", "mend_color_jitter"} and all(
        isinstance(applied, bool) for applied in compat.APPLIED.values())
    monkeypatch.setattr(compat.dependency, "WITH_MULTIMODAL", False)
    assert compat.do_without_vindlu() is False
