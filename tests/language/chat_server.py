"""A real server of OpenAI's chat completions on this machine, and the ways in which one can fail."""
from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        with server.lock:
            server.requests.append({**request, "path": self.path})
            server.under_way += 1
            server.most_at_once = max(server.most_at_once, server.under_way)
        reply = server.answer(request)
        with server.lock:
            server.under_way -= 1
        try:
            reply(self) if callable(reply) else completion(reply)(self)
        except OSError:
            pass  # the client was killed, or has lost patience

    def log_message(self, *_):
        pass


class ChatServer(ThreadingHTTPServer):
    """Answers with ``answer(request)``: a text, or a function that does as it likes with the handler."""
    daemon_threads, block_on_close, request_queue_size = True, False, 64

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.lock, self.requests, self.under_way, self.most_at_once = answer, threading.Lock(), [], 0, 0
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()

    def asked(self):
        """How often each text was asked for."""
        return Counter((json.dumps(request["messages"]), request["seed"] // 1000) for request in self.requests)


def send(status, body, kind="application/json", length=None, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def reply(handler):
        handler.send_response(status)
        for name, value in {"content-type": kind, "content-length": length or len(content), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = length is not None
    return reply


def completion(text, finish_reason="stop"):
    message = dict(role="assistant", content=text)
    return send(200, dict(id="1", object="chat.completion", created=0, model="toy",
                          choices=[dict(index=0, message=message, finish_reason=finish_reason)]))


def failure(status, message, code=None, **headers):
    return send(status, dict(error=dict(message=message, code=code, type="test")), retry_after_ms=1, **headers)


def hang(handler):
    time.sleep(3)


def numbered():
    """An endless supply of answers that keep every rule."""
    numbers = iter(range(10 ** 6))
    return lambda request: f"Both arms make movement number {next(numbers)}."


def script(*replies):
    """The given replies one after the other, then good ones."""
    queue, more = list(replies), numbered()
    return lambda request: queue.pop(0) if queue else more(request)


@contextmanager
def chat_servers() -> Iterator[Callable[..., ChatServer]]:
    """Starts servers; no key, proxy or address of the machine's own is used meanwhile."""
    servers = []

    def start(answer=None) -> ChatServer:
        servers.append(ChatServer(answer or numbered()))
        return servers[-1]
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    with mock.patch.dict(os.environ, {**own, "NO_PROXY": "127.0.0.1"}, clear=True):
        yield start
    for server in servers:
        server.shutdown()
        server.server_close()
