"""Who writes interpretive prompts: any server of OpenAI's protocol, or a Hugging Face model on this machine.

Pure: imports nothing of ``mm*``; the client libraries are imported where they are used.
"""
from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..messages import quoted, shown
from .server import PARAMETERS, BadReply, CannotGoOn, ChatClient, Refused, unsupported

_LOG = logging.getLogger(__name__)
CONTENT_FILTER = re.compile(r"content.?(filter|policy|management)|invalid.?prompt|data.?inspection|moderation|safety",
                            re.IGNORECASE)
"""What codes and messages of servers have in common that refuse the words of a request (Azure, OpenAI, DashScope)."""


class Filtered(RuntimeError):
    """A server refuses the words of this one request; asking again does not help, other requests may pass."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""
    model: str
    temperature: float = 0.90
    top_p: float = 0.95
    max_tokens: int = 200


class Answer(NamedTuple):
    """What a model wrote."""
    text: str
    retries: int = 0  # requests that had to be sent again for it
    cut: str | None = None  # by what, where it did not end by itself


Write = Callable[[list[dict[str, str]], int], Answer]
"""Messages and a seed -> answer."""


def openai_writer(sampling: Sampling, base_url: str | None = None, timeout: float = 60, max_retries: int = 5) -> Write:
    """Writes through a server of OpenAI's protocol (vLLM, Ollama, llama.cpp, or hosted); see ``ChatClient``.

    ``OPENAI_API_KEY`` is the key; a server at a ``base_url`` may need none. A parameter that the server does not know,
    as newer models of OpenAI do not know ``max_tokens`` and ``temperature``, is called by its newer name or left out
    from then on, and the log says so, once.

    Raises:
        ModuleNotFoundError: ``openai`` is not installed.
        CannotGoOn: By the writer: the server refuses key, model or parameters.
        Filtered: By the writer: the server's content filter refuses these messages.
        BadReply: By the writer: an answer that is no chat completion, none within ``timeout`` seconds, or none after
            ``max_retries``.
    """
    client, lock, joined = ChatClient(base_url, timeout, max_retries), threading.Lock(), threading.Event()
    parameters: dict[str, Any] = dict(
        temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=sampling.max_tokens, seed=0)

    def write(messages: list[dict[str, str]], seed: int) -> Answer:
        while True:
            with lock:
                request = {**parameters, "model": sampling.model}
            if "seed" in request:
                request["seed"] = seed
            request["messages"] = _joined(messages) if joined.is_set() else messages
            try:
                return _answer(*client.ask(request))
            except Refused as refused:
                if (refused.status in (400, 403, 422, 451) and refused.param not in PARAMETERS
                        and CONTENT_FILTER.search(f"{refused.code} {refused.told}")):
                    raise Filtered(str(refused)) from refused
                name = unsupported(refused, request)
                if name is None or name == "system" and len(request["messages"]) < 2:
                    raise CannotGoOn(str(refused)) from refused
                with lock:
                    _leave_out(name, parameters, joined)

    return write


def _leave_out(name: str, parameters: dict[str, Any], joined: threading.Event) -> None:
    """Ask without a parameter from now on, and say so, unless another thread did."""
    if name == "system":
        how, known = "the command goes into the user's message", not joined.is_set()
        joined.set()
    else:
        known, value = name in parameters, parameters.pop(name, None)
        if known and name == "max_tokens":
            parameters["max_completion_tokens"] = value
        how = "it is called max_completion_tokens" if name == "max_tokens" else "it is left out"
    if known:
        _LOG.warning("the server takes no %s for this model; from now on %s", name, how)


def _joined(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Messages as one of the user's, for models that know no system message."""
    return [{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}]


_CUT = {reason: cut for cut, reasons in {
    "cut at max_tokens": ("length", "max_tokens", "model_length", "max_output_tokens"),
    "cut by the content filter": ("content_filter", "safety", "recitation", "prohibited_content", "sensitive"),
    "a call of a tool": ("tool_calls", "function_call", "tool_use"),
    "cut by the server": ("error", "abort", "cancelled", "insufficient_system_resource")}.items() for reason in reasons}
"""What servers call the end of an answer that did not end by itself."""


def _answer(reply: Any, retries: int) -> Answer:
    """What a chat completion says, of whatever server.

    Raises:
        BadReply: It is no chat completion.
    """
    try:
        choice = reply["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        content = message.get("content")
        if isinstance(content, list):  # of parts, among them thoughts
            content = "".join(part["text"] for part in content if part.get("type", "text") in ("text", "output_text"))
        text = (content or "").strip()
    except (LookupError, TypeError, AttributeError) as error:
        raise BadReply(f"no chat completion: {quoted(reply, 80)}") from error
    cut = _CUT.get(finish.lower()) if isinstance(finish, str) else None
    if not text and cut is None:
        cut = ("a call of a tool" if message.get("tool_calls") or message.get("function_call") else
               "refusal" if message.get("refusal") else
               "a thought without an answer" if message.get("reasoning_content") or message.get("reasoning") else None)
    return Answer(text, retries, cut)


def local_writer(sampling: Sampling, device: str | None = None) -> Write:
    """Writes with a Hugging Face model on this machine; ``sampling.model`` is its folder or name.

    Raises:
        ModuleNotFoundError: ``transformers`` is not installed.
        CannotGoOn: No such model, or the device cannot take it.
    """
    import torch
    from jinja2 import TemplateError  # what transformers makes templates with
    from transformers import AutoModelForCausalLM, AutoTokenizer
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(sampling.model)
        model = AutoModelForCausalLM.from_pretrained(sampling.model).eval().to(device)
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        raise CannotGoOn(f"the model {shown(sampling.model)} cannot be run on {quoted(device)}: {shown(error, 500)}"
                         ) from error
    padding = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    lock = threading.Lock()  # one model, one tokenizer, one random state

    def write(messages: list[dict[str, str]], seed: int) -> Answer:
        with lock, torch.inference_mode():
            if tokenizer.chat_template:
                how: dict[str, Any] = dict(add_generation_prompt=True, return_tensors="pt", return_dict=True)
                try:
                    inputs = tokenizer.apply_chat_template(messages, **how)
                except TemplateError:  # Gemma's, and others that know no system message
                    inputs = tokenizer.apply_chat_template(_joined(messages), **how)
            else:
                inputs = tokenizer("\n".join(message["content"] for message in messages), return_tensors="pt")
            inputs = inputs.to(model.device)
            torch.manual_seed(seed)
            # top_k=0: else transformers keeps the 50 likeliest tokens, unasked
            output = model.generate(**inputs, do_sample=True, temperature=sampling.temperature, top_p=sampling.top_p,
                                    top_k=0, max_new_tokens=sampling.max_tokens, pad_token_id=padding)
            tokens = output[0, inputs["input_ids"].shape[1]:]
            answer = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        cut = None if len(tokens) < sampling.max_tokens else "cut at max_tokens"
        if tokenizer.chat_template:
            return Answer(answer, cut=cut)
        # a model without a chat format goes on with the pattern of the examples; the first line is its answer
        first, *more = answer.split("\n")
        return Answer(first, cut=None if more else cut)

    return write
