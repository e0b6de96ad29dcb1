"""Who writes interpretive prompts: any server of OpenAI's protocol, or a Hugging Face model on this machine.

Pure: imports nothing of ``mm*``; the client libraries are imported where they are used.
"""
from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

CONTENT_FILTER = re.compile(r"content.?(filter|policy|management)|invalid.?prompt|data.?inspection|moderation|safety",
                            re.IGNORECASE)
"""What codes and messages of servers have in common that refuse the words of a request (Azure, OpenAI, DashScope)."""


class BadReply(RuntimeError):
    """A server's answer that is no chat completion; asking again may help."""


class Filtered(RuntimeError):
    """A server refuses the words of this one request; asking again does not help, other requests may pass."""


class CannotGoOn(RuntimeError):
    """Asking again does not help: the server refuses key, address, model or parameters, or is silent for long."""


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
    """Writes through a server of OpenAI's protocol (vLLM, Ollama, llama.cpp, or hosted), with the ``openai`` client.

    The client itself waits and asks again after 408, 409, 429, 5xx, a time-out or a cut connection. ``OPENAI_API_KEY``
    is the key; a server at a ``base_url`` may need none.

    Raises:
        ModuleNotFoundError: ``openai`` is not installed.
        CannotGoOn: By the writer: the server refuses key, model or parameters.
        Filtered: By the writer: the server's content filter refuses these messages.
        BadReply: By the writer: an answer that is no chat completion, or none after ``max_retries``.
    """
    import openai
    key = os.environ.get("OPENAI_API_KEY") or (None if base_url is None else "none")
    try:
        client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=max_retries)
    except openai.OpenAIError as error:
        raise CannotGoOn(str(error)) from error

    def write(messages: list[dict[str, str]], seed: int) -> Answer:
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=sampling.model, messages=messages, temperature=sampling.temperature, top_p=sampling.top_p,
                max_tokens=sampling.max_tokens, seed=seed)
        except openai.APIConnectionError as error:
            raise BadReply(f"{base_url or 'the server'}: {error}") from error
        except openai.APIStatusError as error:
            told = error.body.get("message") if isinstance(error.body, dict) else None
            message = f"the server answers {error.status_code}: {' '.join(str(told or error.message).split())[:200]}"
            if error.status_code == 400 and CONTENT_FILTER.search(f"{error.code} {told}"):
                raise Filtered(message) from error
            passes = error.status_code in (408, 409, 429) or error.status_code >= 500
            raise (BadReply if passes and error.code != "insufficient_quota" else CannotGoOn)(message) from error
        try:
            choice = raw.parse().choices[0]
            text = (choice.message.content or "").strip()
        except (ValueError, AttributeError, LookupError, TypeError, openai.APIError) as error:
            raise BadReply(f"no chat completion: {raw.http_response.text[:80]!r}") from error
        cut = {"length": "cut at max_tokens", "content_filter": "cut by the content filter"}.get(choice.finish_reason)
        return Answer(text, raw.retries_taken, cut)

    return write


def local_writer(sampling: Sampling, device: str | None = None) -> Write:
    """Writes with a Hugging Face model on this machine; ``sampling.model`` is its folder or name.

    Raises:
        ModuleNotFoundError: ``transformers`` is not installed.
        CannotGoOn: No such model, or the device cannot take it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        tokenizer = AutoTokenizer.from_pretrained(sampling.model)
        model = AutoModelForCausalLM.from_pretrained(sampling.model).eval().to(device)
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        raise CannotGoOn(f"the model {sampling.model} cannot be run on {device!r}: {error}") from error
    padding = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    lock = threading.Lock()  # one model, one tokenizer, one random state

    def write(messages: list[dict[str, str]], seed: int) -> Answer:
        with lock, torch.inference_mode():
            if tokenizer.chat_template:
                inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt",
                                                       return_dict=True)
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
