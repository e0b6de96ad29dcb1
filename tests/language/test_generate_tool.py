"""claver generate-prompts as a user types it: to the end, killed, stopped, again, and wrongly."""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from chat_server import chat_servers, failure, numbered
from claver_mm_cli import main
from toy import ROOT

from claver_mm.language import KINDS, read_bank
from claver_mm.language.instruction import Wanted, ask

CLASSES = ["opening bottle", "juggling balls", "BabyCrawling", "opening present"]
WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('mmengine', 'mmcv', 'mmaction', 'mmpretrain', 'transformers'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture
def serve():
    with chat_servers() as start:
        yield start


@pytest.fixture
def command(tmp_path):
    """The arguments of the tool, with a class list in ``tmp_path``."""
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")

    def arguments(server, *more, out="bank.yaml", per_kind=2):
        return ["--classes", tmp_path / "classes.txt", "--out", tmp_path / out,
                "--model", "toy", "--base-url", server.url, "--per-kind", str(per_kind), *more]
    return arguments


@pytest.fixture
def start(tmp_path):
    """Starts the tool as a process of its own, in another folder, on a machine without MMEngine and transformers."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/sitecustomize.py").write_text(WITHOUT)
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore", PYTHONPATH=str(tmp_path / "without"),
               NO_PROXY="127.0.0.1")

    def process(arguments):
        return subprocess.Popen(
            [sys.executable, ROOT / "tools/generate_prompts.py", *map(str, arguments)], cwd=tmp_path, env=env,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    return process


@pytest.fixture
def tool(capsys):
    """Runs the command in this process: exit status and what it said."""
    def run(arguments):
        capsys.readouterr()
        try:
            status = main(["generate-prompts", *map(str, arguments)])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        errors = re.sub(r"\rtexts:.*\n?", "", said.err).removeprefix("claver generate-prompts: error: ")
        return status, said.out + errors
    return run


def records(path):
    """The answers in a cache."""
    return [record for record in map(json.loads, path.read_text().splitlines()) if "text" in record]


def until(condition, seconds=240):  # to import torch alone takes a minute on a busy machine
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.005)


def test_the_tool_writes_a_whole_bank_with_several_requests_at_once(serve, command, start, tmp_path):
    meeting, number = threading.Barrier(4), numbered()

    def answer(request):
        if len(server.requests) <= 4:
            meeting.wait(240)  # raises if fewer than four requests are ever under way
        return number(request)
    server = serve(answer)
    process = start(command(server, "--workers", "4"))
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "0 texts from the cache, 24 new, 0 failed; 0 requests sent again; answers asked again: none" in said
    assert "24/24" in errors and server.most_at_once == 4 and len(server.requests) == 24
    for request in server.requests:
        assert request.items() >= dict(model="toy", temperature=0.9, top_p=0.95, max_tokens=200,
                                       path="/v1/chat/completions").items()
    texts = read_bank(tmp_path / "bank.yaml").texts(CLASSES, KINDS, per_kind=2)
    assert sorted(sum(texts, [])) == sorted(record["text"] for record in records(tmp_path / "bank.answers.jsonl"))
    first = (tmp_path / "bank.yaml").read_text().splitlines()[:3]
    assert first[:2] == ["opening bottle:", "  decomposition:"] and first[2].startswith("    - Both arms")


def test_a_killed_run_goes_on_from_its_cache(serve, command, start, tool, tmp_path):
    """Also after the kill has left half a line, which cannot be read."""
    number = numbered()
    server = serve(lambda request: time.sleep(pace) or number(request))
    pace, cache, arguments = 0.1, tmp_path / "bank.answers.jsonl", command(server, "--workers", "2")
    killed = start(arguments)
    until(lambda: len(server.requests) > 8)
    killed.kill()
    assert killed.wait(20) == -signal.SIGKILL and not (tmp_path / "bank.yaml").exists()
    kept = records(cache)
    assert 4 < len(kept) < 24
    with cache.open("a") as file:
        file.write('{"key": "0a1b", "name": "open')
    pace = 0
    status, said = tool(arguments)
    assert status == 0 and f"{len(kept)} texts from the cache, {24 - len(kept)} new" in said, said
    asked = server.asked()
    for record in kept:
        wanted = Wanted(record["name"], record["kind"], record["sample"])
        assert asked[json.dumps(ask(wanted, CLASSES)), wanted.sample] == 1
    assert len(asked) == 24 and sum(asked.values()) <= 24 + 2  # two were under way at the kill
    assert records(cache)[:len(kept)] == kept and len(records(cache)) == 24
    assert all(len(set(texts)) == 6 for texts in read_bank(tmp_path / "bank.yaml").texts(CLASSES))


def test_ctrl_c_ends_a_run_at_once_though_the_server_hangs(serve, command, start, tmp_path):
    free, number = threading.Event(), numbered()
    server = serve(lambda request: (len(server.requests) > 3 and free.wait(60)) or number(request))
    process = start(command(server, "--workers", "1"))
    until(lambda: len(server.requests) == 4)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=50)
    free.set()
    assert process.returncode == 130 and time.monotonic() - began < 20
    assert "stopped; texts so far are in" in errors and "the same command goes on" in errors
    assert "Traceback" not in errors and len(records(tmp_path / "bank.answers.jsonl")) == 3


def test_a_refused_key_stops_the_run_and_what_was_written_stays(serve, command, tool, tmp_path):
    number = numbered()
    server = serve(lambda request: number(request) if len(server.requests) <= 5 else failure(401, "Wrong key."))
    status, said = tool(command(server, "--workers", "1"))
    assert status == 2 and said.count("\n") == 1
    assert said.startswith("the server answers 401: Wrong key.; texts so far are in ") and "bank.answers.jsonl" in said
    assert len(server.requests) == 6 and not (tmp_path / "bank.yaml").exists()
    server.answer = number
    assert tool(command(server))[0] == 0 and len(server.requests) == 6 + 19


def test_a_text_without_a_good_answer_fails_by_name_and_the_rest_is_written(serve, command, tool, tmp_path):
    number = numbered()
    server = serve(lambda request: "" if "Action: juggling balls" in request["messages"][1]["content"] and
                   request["seed"] >= 1000 else number(request))
    arguments = command(server, "--kinds", "synonym", "--attempts", "3")
    status, said = tool(arguments)
    assert status == 1 and "failed: juggling balls, synonym 1: empty: ''" in said and "7 new, 1 failed" in said
    entries = read_bank(tmp_path / "bank.yaml").entries
    assert [len(entries[name]["synonym"]) for name in CLASSES] == [2, 1, 2, 2]
    assert len(server.requests) == 7 + 3
    server.answer = number
    status, said = tool(arguments)
    assert status == 0 and "7 texts from the cache, 1 new, 0 failed" in said and len(server.requests) == 11


def test_a_second_complete_run_asks_nothing(serve, command, tool, tmp_path):
    server = serve()
    assert tool(command(server))[0] == 0
    before = (tmp_path / "bank.yaml").read_bytes()
    status, said = tool(command(server))
    assert status == 0 and "24 texts from the cache, 0 new, 0 failed" in said and len(server.requests) == 24
    assert (tmp_path / "bank.yaml").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank.answers.jsonl", "bank.yaml", "classes.txt"]


@pytest.mark.parametrize("change, says", [
    (lambda text: text.replace("Both arms make movement number 3.", "Both arms by hand."), "'Both arms by hand.'"),
    (lambda text: re.sub(".*number 3.*\n", "", text), "some are gone"),
    (lambda text: text.replace("number 3.", "number 4.", 1), "some are gone or moved"),
    (lambda text: "mine: [", "is no bank"), (lambda text: "", "is no bank")],
    ids=["a text", "without a text", "a text of another place", "broken", "empty"])
def test_a_bank_corrected_by_hand_is_not_overwritten(serve, command, tool, tmp_path, change, says):
    """A text that somebody had taken out came back."""
    server, bank = serve(), tmp_path / "bank.yaml"
    assert tool(command(server))[0] == 0
    mine = change(bank.read_text())
    bank.write_text(mine)
    status, said = tool(command(server, per_kind=3))
    assert status == 2 and said.startswith(f"{bank} ") and says in said and said.count("\n") == 1
    assert "give another --out, or remove the file" in said
    assert bank.read_text() == mine and len(server.requests) == 24
    cache = ["--cache", tmp_path / "bank.answers.jsonl"]
    assert tool(command(server, *cache, out="other.yaml", per_kind=3))[0] == 0 and len(server.requests) == 36


def test_a_class_that_the_content_filter_refuses_fails_and_the_others_are_written(serve, command, tool, tmp_path):
    number = numbered()
    server = serve(lambda request: failure(400, "Filtered.", code="content_filter")
                   if "Action: juggling balls" in request["messages"][1]["content"] else number(request))
    for written, cached in ((18, 0), (0, 18)):
        status, said = tool(command(server))
        assert status == 1 and f"{cached} texts from the cache, {written} new, 6 failed (6 by the server's" in said
        assert "failed: juggling balls, synonym 1: the server answers 400: Filtered." in said
    entries = read_bank(tmp_path / "bank.yaml").entries
    assert [len(entries[name]["synonym"]) for name in CLASSES] == [2, 0, 2, 2]


def test_a_bank_corrected_during_the_run_is_not_overwritten(serve, command, tool, tmp_path):
    bank, number = tmp_path / "bank.yaml", numbered()
    server = serve(lambda request: bank.write_text("opening bottle: {synonym: [mine]}") and number(request))
    status, said = tool(command(server))
    assert status == 2 and "'mine'" in said and "mine" in bank.read_text() and len(server.requests) == 24


def test_another_model_or_sampling_asks_anew(serve, command, tool):
    server = serve()
    assert tool(command(server))[0] == 0
    status, said = tool(command(server, "--temperature", "0.5"))
    assert status == 0 and "0 texts from the cache, 24 new" in said
    assert {request["temperature"] for request in server.requests[24:]} == {0.5}


@pytest.mark.parametrize("more, says", [
    (["--classes", "nowhere.txt"], "no file of classes at nowhere.txt"), (["--out", "bank.csv"], "must end in .yaml"),
    (["--local"], "--base-url and --timeout are for a server"), (["--device", "cpu"], "add --local"),
    (["--base-url", "localhost:80"], "must begin with http"), (["--workers", "0"], "must be above 0"),
    (["--top-p", "1.5"], "at most 1, got 1.5"), (["--cache", "b.yaml", "--out", "b.yaml"], "are one file"),
    (["--kinds", "poems"], "invalid choice")])
def test_bad_arguments_are_named(serve, command, tool, monkeypatch, tmp_path, more, says):
    monkeypatch.chdir(tmp_path)
    server = serve()
    status, said = tool(command(server, *more))
    assert status == 2 and says in said and not server.requests


@pytest.mark.parametrize("package", ["openai", "transformers"])
def test_a_missing_package_is_named(serve, command, tool, monkeypatch, package):
    arguments = command(serve())
    if package == "transformers":
        where = arguments.index("--base-url")
        arguments[where:where + 2] = ["--local"]
    monkeypatch.setitem(sys.modules, package, None)
    assert tool(arguments) == (2, f"{package} is not installed: pip install claver-mm[generate]\n")
