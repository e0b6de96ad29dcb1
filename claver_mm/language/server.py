"""Chat completions of a server that may be slow, odd or hostile, with the ``openai`` client.

Pure: imports nothing of ``mm*``; the client library is imported where it is used.
"""
from __future__ import annotations

import asyncio
import contextvars
import os
import re
import threading
import weakref
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from ..messages import quoted, shown

LARGEST_REPLY = 4 * 2 ** 20
"""Bytes of a reply; more is cut off and counts as no answer."""


class BadReply(RuntimeError):
    """A server's answer that is no chat completion; asking again may help."""


class CannotGoOn(RuntimeError):
    """Asking again does not help: the server refuses key, address, model or parameters, or is silent for long."""


class Refused(RuntimeError):
    """The server refuses this one request, with ``status``; ``told``, ``code`` and ``param`` are its words for why."""

    def __init__(self, status: int, code: str, param: str, told: str) -> None:
        super().__init__(f"the server answers {status}: {shown(told)}")
        self.status, self.code, self.param, self.told = status, code, param, told


class ChatClient:
    """The ``openai`` client with bounds that hold for whole replies.

    It has an event loop in a thread of its own, since only there a request can be broken off wherever it is: while it
    connects, in the head of the reply, and between any two of its bytes. The client itself waits and asks again after
    408, 409, 429, 5xx or a cut connection.

    Args:
        base_url: Address of the server; None is OpenAI's.
        timeout: Seconds that the server may take for an answer, all requests of it together. Pauses between them,
            such as a busy server asks for, are not counted; they are a minute each at most.
        max_retries: How often the client asks again.
    """

    def __init__(self, base_url: str | None, timeout: float, max_retries: int) -> None:
        import openai
        self._openai, self._timeout = openai, timeout
        self.name = "the server" if base_url is None else shown(_without_login(base_url))
        self._key = os.environ.get("OPENAI_API_KEY") or (None if base_url is None else "none")
        if self._key and not (self._key.isascii() and self._key.isprintable() and " " not in self._key):
            raise CannotGoOn("OPENAI_API_KEY holds a blank or another character that no key has; set it anew")
        try:
            self._client = openai.AsyncOpenAI(
                base_url=base_url, api_key=self._key, timeout=None, max_retries=max_retries,
                default_headers={"accept-encoding": "identity"}, http_client=_bounded_client(openai, timeout))
        except openai.OpenAIError as error:
            raise CannotGoOn(shown(error)) from error
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=[self._loop], daemon=True, name="requests").start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def ask(self, parameters: dict[str, Any]) -> tuple[Any, int]:
        """JSON of a completion, and how often it was asked for again.

        Raises:
            BadReply: None came, or what came is no JSON.
            Refused: The server refuses the request.
            CannotGoOn: It refuses every request.
        """
        future: Future = asyncio.run_coroutine_threadsafe(_within(self._ask(parameters)), self._loop)
        try:
            return future.result()
        except TimeoutError as error:
            raise BadReply(f"{self.name}: no whole answer in {self._timeout:g} s") from error
        except BaseException:
            future.cancel()
            raise

    async def _ask(self, parameters: dict[str, Any]) -> tuple[Any, int]:
        openai = self._openai
        try:
            raw = await self._client.chat.completions.with_raw_response.create(**parameters)
        except openai.APIConnectionError as error:
            raise BadReply(f"{self.name}: {self._told(error.__cause__ or error)}") from error
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        try:
            return raw.http_response.json(), raw.retries_taken
        except (ValueError, RecursionError) as error:
            raise BadReply(f"no chat completion: {quoted(self._told(raw.http_response.text[:500]), 80)}") from error

    def _refusal(self, error: Any) -> Exception:
        body = error.body[0] if isinstance(error.body, list) and error.body else error.body
        body = body if isinstance(body, dict) else {}
        told = self._told(body.get("message") or body.get("detail") or body.get("error") or error.message)
        code, param = (str(part or "")[:200] for part in (error.code or body.get("type"), body.get("param")))
        refused = Refused(error.status_code, code, param, told)
        if 300 <= error.status_code < 400:
            where = shown(_without_login(error.response.headers.get("location", "nowhere")))
            return CannotGoOn(f"{self.name} sends on to {where}, which is not followed; if that is right, give it as "
                              "the address")
        if error.status_code in (408, 409, 429) or error.status_code >= 500:
            return (CannotGoOn if code == "insufficient_quota" else BadReply)(str(refused))
        return CannotGoOn(str(refused)) if error.status_code in (401, 402, 404) else refused

    def _told(self, words: object) -> str:
        """What a server says, without the key, which some repeat."""
        told = " ".join(str(words)[:2000].split())
        return told.replace(self._key, "(the key)") if self._key and len(self._key) > 6 else told


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


_DEADLINE: contextvars.ContextVar[tuple[asyncio.Timeout, list[float]]] = contextvars.ContextVar("deadline")


async def _within(asking: Any) -> Any:
    """Await ``asking``; its requests may move the deadline."""
    async with asyncio.timeout(None) as deadline:
        _DEADLINE.set((deadline, [0.0]))
        return await asking


def _bounded_client(openai: Any, timeout: float) -> Any:
    """An HTTP client that reads whole replies, up to ``LARGEST_REPLY`` and, all of an answer together, ``timeout``."""
    class Bounded(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **how: Any) -> Any:
            deadline, spent = _DEADLINE.get()
            loop = asyncio.get_running_loop()
            begun = loop.time()
            deadline.reschedule(begun + timeout - spent[0])
            try:
                return await _whole(await super().send(request, stream=True, **how))
            finally:
                spent[0] += loop.time() - begun
                if not deadline.expired():
                    deadline.reschedule(None)
    return Bounded(follow_redirects=False, timeout=None)


async def _whole(response: Any) -> Any:
    """A response with its body, which was not read yet, as far as it is within bounds."""
    content = bytearray()
    try:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise BadReply("the reply is compressed, though none of that kind was asked for")
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > LARGEST_REPLY:
                raise BadReply(f"the reply has more than {LARGEST_REPLY >> 20} MiB")
    finally:
        await response.aclose()
    headers = [(name, value) for name, value in response.headers.multi_items()
               if name.lower() not in ("transfer-encoding", "content-length")]
    return type(response)(response.status_code, headers=headers, content=bytes(content), request=response.request)


def _without_login(url: str) -> str:
    """An address without user name, password and query, which may hold a key."""
    parts = urlsplit(url[:500])
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


PARAMETERS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed")
"""What a server may refuse to be told."""

_UNSUPPORTED = re.compile(
    r"unsupported|not (?:yet |currently )?(?:supported|permitted|allowed|available|accepted|recogni[sz]ed)|deprecated"
    r"|(?:does|do) not (?:support|allow|accept)|doesn't (?:support|allow|accept)|unrecogni[sz]ed|unknown|unexpected"
    r"|extra|only the default|cannot find|cannot (?:both )?be (?:set|used|specified|both)|can't be (?:set|used)"
    r"|no longer|is only supported|must be left out", re.IGNORECASE)


def unsupported(refused: Refused, sent: dict[str, Any]) -> str | None:
    """The parameter of a request that the server does not know, or None where it objects to something else; ``system``
    where it takes no system message."""
    said = f"{refused.code} {refused.told}"
    if refused.status not in (400, 403, 415, 422, 501) or not _UNSUPPORTED.search(said):
        return None
    if re.search(r"\bsystem\b", said) and re.search(r"\brole|\bmessage", said + refused.param, re.IGNORECASE):
        return "system"
    if refused.param in PARAMETERS:
        return refused.param if refused.param in sent else None
    named = {name: match.start() for name in PARAMETERS if name in sent and (match := re.search(rf"\b{name}\b", said))}
    return min(named, key=named.__getitem__) if named else None
