"""Servers that are slow, odd, newer than this or hostile."""
import gzip
import json
import logging
import socket
import threading
import time

import pytest
from chat_server import chat_servers, completion, failure, send

from claver_mm.language.server import BadReply, CannotGoOn
from claver_mm.language.writers import Answer, Filtered, Sampling, openai_writer

MESSAGES = [{"role": "system", "content": "Write."}, {"role": "user", "content": "jumping"}]


@pytest.fixture
def serve():
    with chat_servers() as start:
        yield start


def written(server, timeout=60.0, seed=0):
    return openai_writer(Sampling("toy"), server.url, timeout, max_retries=1)(MESSAGES, seed)


def dripping(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def dripping_head(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 2 ** 16)


@pytest.mark.parametrize("reply", [dripping, dripping_head], ids=["body", "head"])
def test_the_timeout_holds_for_a_whole_answer(serve, reply):
    """It held for each read: a server that sent a byte now and then was waited for without end."""
    server, began = serve(lambda request: reply), time.monotonic()
    with pytest.raises(BadReply, match="no whole answer in 0.5 s"):
        written(server, timeout=0.5)
    assert time.monotonic() - began < 10


def test_a_server_that_says_nothing_is_given_up_after_the_timeout(serve):
    with socket.create_server(("127.0.0.1", 0)) as silent, chat_servers():
        writer = openai_writer(Sampling("toy"), f"http://127.0.0.1:{silent.getsockname()[1]}/v1", 0.3, max_retries=3)
        with pytest.raises(BadReply, match="no whole answer in 0.3 s"):
            writer(MESSAGES, 0)


@pytest.mark.parametrize("reply, says", [
    (endless, "more than 4 MiB"), (send(200, b'{"choices": [' + b"{}," * 2_000_000), "more than 4 MiB"),
    (send(200, gzip.compress(b" " * 10 ** 8), content_encoding="gzip"), "compressed"),
    (send(400, b"x" * 10 ** 7), "more than 4 MiB"), (send(200, b"[" * 10 ** 6), "no chat completion: '\\[\\[\\["),
    (send(200, b'{"choices": ' + b"9" * 10 ** 5 + b"}"), "no chat completion"),
    (send(200, dict(choices=[dict(message=dict(content=7))])), "no chat completion: "),
    (send(200, dict(choices=None)), "no chat completion"), (send(200, b"null"), "no chat completion: None")])
def test_a_reply_without_bounds_or_sense_is_no_answer(serve, reply, says):
    with pytest.raises(BadReply, match=says) as error:
        written(serve(lambda request: reply))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("message, finish, answer", [
    (dict(content=[dict(type="thinking", thinking="hm"), dict(type="text", text="up ")]), "stop", Answer("up")),
    (dict(content=None, reasoning_content="The user wants"), "stop", Answer("", cut="a thought without an answer")),
    (dict(content="", tool_calls=[{}]), "stop", Answer("", cut="a call of a tool")),
    (dict(content=None, refusal="No."), "stop", Answer("", cut="refusal")),
    (dict(content="up"), "MAX_TOKENS", Answer("up", cut="cut at max_tokens")),
    (dict(content="up", reasoning_content="hm"), ["odd"], Answer("up"))])
def test_answers_of_other_shapes_are_understood(serve, message, finish, answer):
    server = serve(lambda request: send(200, dict(choices=[dict(message=message, finish_reason=finish)])))
    assert written(server) == answer


REFUSED = {
    "openai": [("max_tokens", 400, dict(error=dict(
        message="Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.", code="unsupported_parameter", param="max_tokens"))),
        ("temperature", 400, dict(error=dict(
            message="Unsupported value: 'temperature' does not support 0.9 with this model. Only the default (1) value "
                    "is supported.", code="unsupported_value", param="temperature"))),
        ("top_p", 400, dict(error=dict(message="Unsupported parameter: 'top_p'", param="top_p")))],
    "mistral": [("seed", 422, dict(object="error", message=dict(detail=[dict(
        type="extra_forbidden", loc=["body", "seed"], msg="Extra inputs are not permitted")])))],
    "fastapi": [("seed", 422, dict(detail=[dict(loc=["body", "seed"], msg="extra fields not permitted")]))],
    "gemini": [("seed", 400, [dict(error=dict(message='Invalid payload. Unknown name "seed": Cannot find field.'))])],
    "claude": [("top_p", 400, dict(error=dict(message="`top_p` and `temperature` cannot both be specified.")))],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_parameter_that_the_server_does_not_know_is_left_out_from_then_on(serve, name, caplog):
    """The run ended with the server's words, and there was no way to go on."""
    def answer(request):
        return next((send(status, body) for parameter, status, body in REFUSED[name] if parameter in request), "up")
    server = serve(answer)
    writer = openai_writer(Sampling("toy"), server.url)
    with caplog.at_level(logging.WARNING):
        assert writer(MESSAGES, 0).text == writer(MESSAGES, 1).text == "up"
    left_out = {parameter for parameter, *_ in REFUSED[name]}
    assert not left_out & server.requests[-1].keys() and len(server.requests) == 2 + len(left_out)
    assert server.requests[-1].get("max_completion_tokens", 200) == 200
    assert ("max_completion_tokens" in server.requests[-1]) == ("max_tokens" in left_out)
    assert len(caplog.records) == len(left_out), caplog.text


def test_a_model_without_system_messages_is_told_all_by_the_user(serve):
    server = serve(lambda request: "up" if len(request["messages"]) == 1 else failure(
        400, "Unsupported value: 'messages[0].role' does not support 'system' with this model.", "unsupported_value"))
    assert written(server).text == "up" and server.requests[-1]["messages"] == [
        {"role": "user", "content": "Write.\n\njumping"}]


@pytest.mark.parametrize("reply, error, says", [
    (failure(400, "top_p must not be 2.", "invalid_value"), CannotGoOn, "top_p must not be 2"),
    (failure(400, "temperature must be between 0 and 1"), CannotGoOn, "between 0 and 1"),
    (failure(403, "Flagged by moderation."), Filtered, "403: Flagged"),
    (send(307, b"", location="http://me:secret@127.0.0.2/x?key=1"), CannotGoOn, "on to http://127.0.0.2/x, which"),
    (failure(404, "\x1b[2Jno model\x07" + "x" * 10 ** 5), CannotGoOn, r"404: \\x1b\[2Jno model\\x07x+\.\.\. \(")])
def test_what_a_server_refuses_is_said_short_and_printable(serve, reply, error, says):
    """Raw escape codes of a server reached the terminal."""
    server = serve(lambda request: reply)
    with pytest.raises(error, match=says) as raised:
        written(server)
    assert len(server.requests) == 1 and str(raised.value).isprintable() and len(str(raised.value)) < 400
    assert "secret" not in str(raised.value)


def test_a_key_is_never_printed(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-my-secret")
    with pytest.raises(CannotGoOn, match=r"401: Wrong key \(the key\)"):
        written(serve(lambda request: failure(401, "Wrong key sk-my-secret")))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-my-secret\n")
    with pytest.raises(CannotGoOn, match="OPENAI_API_KEY holds a blank") as error:
        written(serve())
    assert "secret" not in str(error.value)


def test_a_writer_that_is_no_longer_needed_leaves_no_thread(serve):
    server, before = serve(lambda request: completion("up")), threading.enumerate()
    writer = openai_writer(Sampling("toy"), server.url)
    thread, = (thread for thread in threading.enumerate() if thread.name == "requests" and thread not in before)
    assert writer(MESSAGES, 0).text == "up"
    del writer
    end = time.monotonic() + 20
    while thread.is_alive():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_million_choices_are_not_looked_at(serve):
    body = json.dumps(dict(choices=[dict(message=dict(content="up"))] + [{}] * 10 ** 6)).encode()
    server = serve(lambda request: send(200, body))
    assert written(server).text == "up"
