"""Prompts written by a language model: every way in which a server can fail, rules, cache, and a tiny local model."""
import shutil
from pathlib import Path

import pytest
import torch
from chat_server import chat_servers, completion, failure, numbered, script, send
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toy import ROOT

from claver_mm.clip import count_tokens
from claver_mm.language import KINDS, check_bank, read_bank, read_lines
from claver_mm.language.bank import write_bank
from claver_mm.language.cache import Cache
from claver_mm.language.generate import generate
from claver_mm.language.instruction import COMMANDS, EXAMPLES, Wanted, ask
from claver_mm.language.server import CannotGoOn
from claver_mm.language.writers import Sampling, local_writer, openai_writer

CLASSES = ["opening bottle", "juggling balls", "BabyCrawling", "opening present"]
SAMPLING = Sampling("toy")
WORDS = "the a arm hand leg ball lid turns lifts drops pushes over under slowly twice".split()


@pytest.fixture
def serve():
    with chat_servers() as start:
        yield start


def run(server, folder, classes=CLASSES, kinds=("synonym",), attempts=3, workers=1, timeout=60, max_retries=5):
    """``generate`` with one text a class and kind."""
    cache = Cache(folder / "answers.jsonl", SAMPLING)
    writer = openai_writer(SAMPLING, server.url, timeout, max_retries)
    return generate(classes, writer, cache, count_tokens, kinds, 1, workers, attempts, pause=0)


@pytest.mark.parametrize("fault", [
    failure(429, "slow down"), failure(500, "oh"), failure(503, "busy"),
    send(200, b'{"choices": [{"mess', length=500)], ids=["429", "500", "503", "connection cut mid-answer"])
def test_a_request_without_answer_is_sent_again(serve, tmp_path, fault):
    server = serve(script(fault))
    bank, report = run(server, tmp_path)
    assert (report.retries, report.written, report.refused, report.failed) == (1, 4, {}, {})
    assert len(server.requests) == 5 and set(server.asked().values()) == {1, 2}
    assert all(len(bank[name]["synonym"]) == 1 for name in CLASSES)


@pytest.mark.parametrize("reply", [
    send(200, b'{"choices": [{"mess'), send(200, b"\xff\xfe"), send(200, dict(choices=[])), send(200, [1]),
    send(200, dict(choices=[{}])), completion([1, 2]), send(200, b"<html>busy</html>", kind="text/html")],
    ids=["half", "no UTF-8", "no choice", "a list", "no message", "no string", "a page"])
def test_a_malformed_reply_is_asked_again(serve, tmp_path, reply):
    server = serve(script(reply))
    _, report = run(server, tmp_path)
    assert (report.refused, report.written, len(server.requests)) == ({"no answer": 1}, 4, 5)


def test_an_empty_account_is_not_asked_again(serve, tmp_path):
    server = serve(script(failure(429, "Pay first.", code="insufficient_quota", x_should_retry="false")))
    with pytest.raises(CannotGoOn, match="the server answers 429: Pay first"):
        run(server, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("replies", [
    [send(200, [1]), "good"], [send(200, [1]), send(200, [1]), failure(400, "no", code="content_filter")]],
    ids=["answered", "filtered"])
def test_a_server_that_answers_now_and_then_does_not_end_the_run(serve, tmp_path, replies):
    """Sixteen requests in a row without an answer would."""
    number = numbered()
    server = serve(script(*(number(None) if reply == "good" else reply for _ in range(20) for reply in replies)))
    _, report = run(server, tmp_path, [f"class {index}" for index in range(20)], attempts=2)
    assert report.refused["no answer"] > 16 - 4 and report.written + len(report.failed) == 20


def test_a_text_of_an_earlier_run_is_not_taken_again(serve, tmp_path):
    server = serve(script("unscrewing a lid", "Unscrewing a lid!", "three balls in the air"))
    run(server, tmp_path, ["opening bottle"])
    bank, report = run(server, tmp_path, ["opening bottle", "juggling balls"])
    assert (report.cached, report.written, report.refused) == (1, 1, {"repeated": 1})
    assert bank["juggling balls"] == {"synonym": ["three balls in the air"]}


@pytest.mark.parametrize("code, message", [
    ("content_filter", "The response was filtered."), ("invalid_prompt", "Invalid prompt: limited for safety reasons."),
    ("data_inspection_failed", "Input data may contain inappropriate content."),
    ("400", "The prompt triggered Azure OpenAI's content management policy.")])
def test_what_a_content_filter_refuses_is_named_and_counted_and_the_rest_written(serve, tmp_path, code, message):
    """One class that it refused stopped the run, and every run after it."""
    server = serve(script(failure(400, message, code=code)))
    bank, report = run(server, tmp_path)
    assert (report.written, report.filtered, len(server.requests)) == (3, 1, 4)
    assert report.failed == {Wanted("opening bottle", "synonym", 0): f"the server answers 400: {message}"}
    assert "1 failed (1 by the server's content filter)" in str(report)
    assert [len(bank[name]["synonym"]) for name in CLASSES] == [0, 1, 1, 1]


def test_parameters_that_the_server_refuses_end_the_run(serve, tmp_path):
    server = serve(script(failure(400, "top_p must not be 2.", code="invalid_value")))
    with pytest.raises(CannotGoOn, match="the server answers 400: top_p must not be 2"):
        run(server, tmp_path)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_ends_the_run(serve, tmp_path):
    """Each text alone would wait through all its attempts, thousands of times."""
    server = serve()
    server.shutdown()
    server.server_close()
    with pytest.raises(CannotGoOn, match="16 requests in a row without an answer; http://127.0.0.1"):
        run(server, tmp_path, [f"class {number}" for number in range(100)], attempts=2, max_retries=0)


def test_answers_that_break_a_rule_are_asked_again_and_counted(serve, tmp_path):
    """A refusal with a typographer's apostrophe became a text."""
    server = serve(script(
        "walk " * 76, "", "...", "Opening bottle.", EXAMPLES["synonym"]["long jump"], completion("the lid", "length"),
        '"Text: unscrewing a lid"', "Unscrewing a lid!", "one ball,\nthen two", "I'm sorry, but no.", "I\u2019m sorry.",
        "three balls \u263a", completion("three", "content_filter"), "- three  balls\u00a0in the air", completion(None),
        "<think>well</think> 'on all fours'"))
    bank, report = run(server, tmp_path, CLASSES[:3], attempts=7)
    assert report.refused == {"too long": 1, "empty": 3, "echo of the prompt": 2, "cut at max_tokens": 1, "repeated": 1,
                              "several lines": 1, "refusal": 2, "odd characters": 1, "cut by the content filter": 1}
    assert [entry["synonym"] for entry in bank.values()] == [
        ["unscrewing a lid"], ["three balls in the air"], ["on all fours"]]
    assert "answers asked again: empty 3, echo of the prompt 2, refusal 2" in str(report) and not report.failed
    seeds = [request["seed"] for request in server.requests]
    assert seeds == [*range(7), *range(7), *range(2)]


@pytest.mark.parametrize("content, says", [
    ('{"key": "a", "text": "b"}\n{"key": "a"\n{"key": "b", "text": "c"}\n', "line 2 is no record"),
    ('{"key": "a", "text": null}\n', "line 1 is no record"), ("[1]\n", "line 1 is no record"),
    ("what I must not forget", "line 1 is no record of this cache; move the file away, or mend")])
def test_a_bad_line_of_a_cache_is_named_and_the_file_left_alone(tmp_path, content, says):
    """A file of one line without an end that is no cache was emptied."""
    path = tmp_path / "answers.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"answers.jsonl, {says}"):
        Cache(path, SAMPLING)
    assert path.read_text() == content


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A GPT-2 of random weights that says any of ``WORDS``."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    torch.manual_seed(0)
    words = ["<end>", "<unknown>", "\n", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    folder = tmp_path_factory.mktemp("gpt2")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>",
                            unk_token="<unknown>").save_pretrained(folder)
    GPT2LMHeadModel(GPT2Config(vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, bos_token_id=0,
                               eos_token_id=0)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("chat", [None, "{% for message in messages %}{{ message.content }} {% endfor %}"])
def test_a_local_model_says_the_same_for_the_same_seed(model, tmp_path, chat):
    if chat:
        model = shutil.copytree(model, tmp_path / "chat")
        (model / "chat_template.jinja").write_text(chat)
    write, messages = local_writer(Sampling(str(model), max_tokens=60), "cpu"), ask(Wanted("a", "synonym", 0), ["a"])
    answers = [write(messages, seed) for seed in (*range(6), *range(6))]
    assert answers[:6] == answers[6:] and len(set(answers)) > 3
    assert set(" ".join(answer.text for answer in answers).split()) <= {*WORDS, "<unknown>"}


def test_a_local_model_writes_a_bank(model, tmp_path):
    sampling = Sampling(str(model), max_tokens=60)
    cache = Cache(tmp_path / "answers.jsonl", sampling)
    bank, report = generate(CLASSES, local_writer(sampling, "cpu"), cache, count_tokens, per_kind=1, attempts=30)
    assert report.written == 12 and not report.failed
    words = {word for entry in bank.values() for texts in entry.values() for text in texts for word in text.split()}
    assert words and words <= set(WORDS)
    write_bank(bank, tmp_path / "bank.yaml")
    problems = check_bank(read_bank(tmp_path / "bank.yaml"), {"classes": CLASSES}, count_tokens, at_least=1)
    assert not problems, problems


def test_a_local_model_or_device_that_is_not_there_is_named(model, tmp_path):
    with pytest.raises(CannotGoOn, match="gpt2.* cannot be run on 'warp'"):
        local_writer(Sampling(str(model)), "warp")
    with pytest.raises(CannotGoOn, match="the model .*nowhere cannot be run on 'cpu'"):
        local_writer(Sampling(str(tmp_path / "nowhere")), "cpu")


def test_a_prompt_shows_command_examples_concept_and_neighbours():
    for kind in KINDS:
        system, user = ask(Wanted("BabyCrawling", kind, 0), [*CLASSES, "baby waking up"])
        assert (system["role"], user["role"]) == ("system", "user")
        assert system["content"].startswith(COMMANDS[kind])
        for action, text in EXAMPLES[kind].items():
            assert f"Action: {action}\nText: {text}\n" in user["content"]
        assert user["content"].endswith("Action: baby crawling\nKeep it apart from: baby waking up.\nText:")
    assert "Keep it apart" not in ask(Wanted("juggling balls", "synonym", 0), CLASSES)[1]["content"]


def test_a_class_is_not_its_own_example():
    """A model repeats the answer that stands there, which is refused as an echo."""
    concept = ask(Wanted("OpeningBottle", "synonym", 0), CLASSES)[1]["content"]
    assert concept.count("Action: opening bottle\n") == 1 and EXAMPLES["synonym"]["opening bottle"] not in concept


def test_neighbours_that_share_a_rare_word_come_first():
    """Twelve are named; of Kinetics the first twelve in the list that began with "playing" pushed out the guitars."""
    classes = read_lines(ROOT / "prompts/classes/kinetics400.txt", "classes")
    concept = ask(Wanted("playing guitar", "synonym", 0), classes)[1]["content"].split("Action: ")[-1]
    assert "Keep it apart from: playing bass guitar, strumming guitar, tapping guitar, playing " in concept
    assert concept.count(",") == 11


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
ODD = ["no", "2", "null", "a: b", "a #b", "'", '"a" said \'b\'', "- a", "*a", "[a", "x: ", "a\nb", "\x85", "word " * 60]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example({name: {name: ODD, "none": []} for name in ODD})
@given(st.dictionaries(TEXTS, st.dictionaries(TEXTS, st.lists(TEXTS), min_size=1), min_size=1))
def test_a_written_bank_reads_back_the_same(tmp_path, bank):
    write_bank(bank, tmp_path / "bank.yaml")
    entries = read_bank(tmp_path / "bank.yaml").entries
    assert {name: {kind: [text for text, _ in texts] for kind, texts in entry.items()}
            for name, entry in entries.items()} == bank


def test_a_written_bank_has_one_text_a_line(tmp_path):
    write_bank({"no": {"synonym": ["word " * 60 + "end", "it's: so"]}}, tmp_path / "bank.yaml")
    assert (tmp_path / "bank.yaml").read_text() == (
        "'no':\n  synonym:\n    - " + "word " * 60 + "end\n    - 'it''s: so'\n")
    assert [path.name for path in tmp_path.iterdir()] == ["bank.yaml"]
