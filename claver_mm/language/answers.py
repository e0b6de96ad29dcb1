"""What a chat model wrote, made the sentence alone, and the rules that the sentence must keep.

Pure: imports nothing of ``mm*``.
Models put things around a sentence: thoughts, greetings, labels, markup, notes. ``clean`` takes off what it knows, and
``broken_rule`` refuses what still looks like more than a sentence, so that an answer is the sentence alone or is asked
for again. The work is linear in the length of an answer: what is too long for a sentence is not looked at closely.
"""
from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable

from .checks import bare, odd_characters, symbols
from .instruction import Wanted
from .prompts import readable

LONGEST_ANSWER, LONGEST_TEXT = 100_000, 2_000
"""Characters: of an answer with its thoughts, of which the end is read; and of a sentence with what is around it."""

FEWEST_WORDS = {"synonym": 2}
"""Words below which a text is none, by kind; ``SENTENCE`` words for the kinds that are sentences."""
SENTENCE = 5

_I = re.IGNORECASE
_TAG = r"(?:seed:|ant)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad|inner_monologue)"
_THOUGHT_BEGINS = re.compile(
    rf"<{_TAG}>|\[think\]|\u25c1think\u25b7|<\|(?:begin_of_thought|start_thinking)\|>|<\|channel\|>\s?(?:analysis|comm)"
    r"|\A\s*(?:analysis(?=\w)|commentary(?=(?-i:[A-Z])))"
    r"|\A\s*(?:thinking|thoughts?|reasoning)\s?(?:\.\.\.|:)?\s*\n", _I)
_THOUGHT_ENDS = re.compile(
    rf"</{_TAG}>|\[/think\]|\u25c1/think\u25b7|<\|(?:end_of_thought|end_thinking)\|>|\.\.\.\s?done thinking\.?"
    r"|<\|channel\|>\s?final\s?<\|message\|>|assistantfinal|\A\s*final(?=(?-i:[A-Z])|(?!ly|e|i|s\b)[a-z])", _I)
_TURN = re.compile(r"</?s>|<[|\uff5c][^<>|\uff5c]{1,40}[|\uff5c]>|</?(?:start|end)_of_turn>|\[/?inst\]|<</?sys>>"
                   r"|<(?:eos|bos|pad|unk)>|\[(?:eos|bos|pad|end)\]|<\uff5c[^>]{1,40}>", _I)
_ROLES = {"assistant", "model", "final", "ai", "answer", "text", "chatbot", "bot", "response"}

_BEGINNING = (r"(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|great|alright|all right|got it|understood|yes"
              r"|no problem|hello|hi|thanks|thank you|definitely|gladly)(?: there| you)?"
              r"(?:\s?[!,.:;\u2013\u2014]+|\s-)")
_PRESENTING = (r"(?:here(?:'s| is| are| you go| it is)|below (?:is|are)|this is|the following|as requested|"
               r"(?:my|one|a) (?:possible |short )?(?:answer|text|sentence|caption|description|synonym)\b)")
_CLOSING = (r"(?:i hope|hope (?:this|that|it)|let me know|feel free|please|is there anything|would you like|do you want"
            r"|if you(?:'d| need| want| would| have)|note\b|explanation\b|word count|\(?\d+ (?:words|tokens|characters)"
            r"|this (?:text|sentence|caption|description|synonym|phrase))")
_LABELS = (r"(?:the )?(?:(?:short|final|one|brief|new|possible|suggested|revised|rephrased|rewritten|interpretive"
           r"|output) )?"
           r"(?:texts?|answers?|captions?|descriptions?|sentences?|synonyms?|paraphrase|decomposition|body[ _]parts?"
           r"|outputs?|responses?|results?|assistant|model|ai|alternatives?|options?|candidates?|versions?|rephrasing"
           r"|translation|english|movements?|title|scene|step|steps|a|here you go)")
_LABEL = re.compile(rf"{_LABELS}(?: ?#?\d{{1,3}}| [a-c])?\s?(?:[:\uff1a=]|\s[-\u2013\u2014]\s)\s*", _I)
_GREETING = re.compile(rf"{_BEGINNING}\s+", _I)
_INTRODUCTION = re.compile(rf"{_PRESENTING}[^:\n]{{0,100}}[:\uff1a]\s*", _I)
_AFTERWORD = re.compile(rf"(?<=[.!?])\s+[(\[*]*{_CLOSING}.*\Z|\s+[(\[](?:note\b|\d+ (?:words|tokens|char)|word count"
                        rf"|alternative|explanation|synonym|decomposition|body)[^()\[\]]*[)\]]\.?\Z", _I | re.DOTALL)
_AROUND = re.compile(rf"(?:{_BEGINNING}\s*)?{_PRESENTING}[^\n]*[:\uff1a][*_\s]*\Z|{_BEGINNING}\s*\Z"
                     rf"|[(\[*_]*{_CLOSING}.*"
                     r"|[^\n]{1,80}[:\uff1a][*_\s]*\Z|#{1,6}\s.*|\([^()]*\)\Z"
                     r"|[*_]*(?:action|class|kind|concept)\s?[:\uff1a].*", _I | re.DOTALL)
_LIST_MARK = re.compile(
    r"[-*+>#]{1,6}\s+|[\u2022-\u2027\u2013\u2014\u2012\u2015\u2043\u00b7\u2190-\u23ff\u25a0-\u27bf\u2b00-\u2bff\u30fb"
    r"\uff0a\uff65\U0001f000-\U0001faff\ufe0f]+\s*|[(\[]?(?:\d{1,3}|[a-z]|[ivx]{1,5})[)\]]\s*(?=\S)|(?:\d{1,3}|[a-z]|[ivx]{1,5})[.:\u3001\uff0e\uff09\uff1a]\s+"
    r"|\d{1,3}[.\u3001\uff0e](?=[^\W\d_])|\d{1,3}\s?[-\u2013\u2014]\s+|\d\ufe0f?\u20e3\s*"
    r"|[\u2460-\u2473\u2474-\u249b\u24b6-\u24ff\u2776-\u2793]\s*"
    r"|[\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341]{1,3}[\u3001.\uff0e]\s*", _I)
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}|~~|`{1,3})(?=\S)([^*_~`\n]+)(?<=\S)\1")
_WRAPPED = re.compile(r"<([a-z][\w-]{0,30})(?:\s[^<>]{0,100})?>(.*)</\1>", _I | re.DOTALL)
_FENCE = re.compile(r"^\s*(?:```|~~~)\w{0,12}\s*$", re.MULTILINE)
_CLOSED_BY = {
    '"': '"', "'": "'", "\u201c": "\u201d\u201c", "\u201d": "\u201d", "\u201e": "\u201c\u201d",
    "\u2018": "\u2019\u2018", "\u2019": "\u2019", "\u201a": "\u2018\u2019", "\u00ab": "\u00bb",
    "\u00bb": "\u00ab\u00bb",
    "\u2039": "\u203a",
    "\u203a": "\u2039\u203a", "\u300c": "\u300d", "\u300e": "\u300f", "\uff02": "\uff02", "\u301d": "\u301e\u301f",
    "`": "`'\u00b4", "\u00b4": "\u00b4", "\u2032": "\u2032", "\u2033": "\u2033", "\u275d": "\u275e", "\u275b": "\u275c",
    "(": ")", "[": "]", "\uff08": "\uff09", "\u3010": "\u3011"}
_BLANKS = " \t\n\r\f\v\u00a0\u00ad\u200b\u200c\u200d\u2060\ufeff\u3000"


def clean(answer: str) -> str:
    """An answer without what models like to put around it: thoughts, marks of turns, introductions and afterwords,
    labels, markup, list marks, quotation marks. Empty where nothing is left, as of a thought that does not end."""
    answer = _without_thoughts(answer[-LONGEST_ANSWER:]).strip(_BLANKS)
    for _ in range(8):
        if len(answer) > LONGEST_TEXT:
            return answer[:LONGEST_TEXT + 1]
        before, answer = answer, _peeled(answer)
        if answer == before:
            break
    return unicodedata.normalize("NFC", answer)


def broken_rule(text: str, wanted: Wanted, messages: list[dict[str, str]], taken: set[str],
                count_tokens: Callable[[str], int]) -> str | None:
    """The rule that a text breaks, or None."""
    if len(text) > LONGEST_TEXT:
        return "too long"
    if not bare(text):
        return "empty"
    lowered = re.sub("[\u2018\u2019\u02bc\u00b4`\u2032\uff07]", "'", text.casefold())
    if _REFUSAL.search(lowered):
        return "refusal"
    if "\n" in text:
        return "several lines"
    if (odd_characters(text) or symbols(text) or text != " ".join(text.split())
            or any(unicodedata.category(char)[0] == "M" for char in text)):
        return "odd characters"
    if count_tokens(text) > 77:
        return "too long"
    if _another_language(text, lowered):
        return "another language"
    if _MARKUP.search(text):
        return "markup"
    if _CHATTER.search(lowered) or re.search(r"\sOR\s|[a-z]{2}[.!?][^\s.!?]|[.!]\s+\w+[.!]*\Z", text):
        return "chatter"
    if len(text.split()) < FEWEST_WORDS.get(wanted.kind, SENTENCE):
        return "too short"
    name, asked = readable(wanted.name).casefold(), " ".join(message["content"] for message in messages).casefold()
    if re.match(rf"{re.escape(name)}(?:\W*\Z|\s?[:.\u2013\u2014]|\s-\s)", lowered) or lowered.strip(". ") in asked:
        return "echo of the prompt"
    return "repeated" if bare(text) in taken else None


_FIRST_PERSON = r"\b(?:i(?!-)|i'm|i'll|i've|i'd|my|myself|we|we're|we'll|our|you|your|you're)\b"
_REFUSAL = re.compile(
    r"\A\W*(?:sorry|unfortunately|regret|apolog|no comment|(?:refused|denied|declined)\W*\Z|(?:n/a|none|null)\b"
    r"|undefined)"
    r"|\bi(?:'m| am| was|'ve| have)? (?:sorry|unable|not|afraid|can't|cannot|can not|won't|will not|couldn't|could not"
    r"|don't|do not|must|apologi[sz]e|regret|decline|refuse)\b|\bapologi(?:[sz]e|es)\b|\bim (?:sorry|unable|not)\b"
    r"|\b(?:as|am|being|just|only) (?:an?|your) (?:\w+ )?(?:ai|assistant|(?:language|text|chat)[ -]?(?:model|bot))\b"
    r"|\b(?:large )?language model\b|\bai (?:assistant|model)\b|\b(?:un|not )able to (?:help|assist|provide|describe"
    r"|comply|fulfill?|generate|create|answer|do (?:that|this)|write|produce|complete|give|offer|process)\b"
    r"|\b(?:can't|cannot|can not|won't|will not|must not|may not|could not|couldn't) (?:be )?(?:help|assist|provide"
    r"|describe|comply|fulfill?|generate|create|answer|do (?:that|this)|write|produce|complete|discuss|engage|support"
    r"|show|say|process|continue)|\bnot (?:possible|permitted|appropriate|available|allowed|comfortable|applicable"
    r"|okay|ok|something)\b|\b(?:this|that|the|your) (?:request|topic|content|prompt|query)\b|\b(?:inappropriate"
    r"|disallowed|harmful|guidelines|polic(?:y|ies)|redacted|unsafe content|don't know|do not know)\b"
    r"|\bmust (?:decline|refuse)\b"
    r"|\b(?:request|answer|response) (?:is |was |has been )?(?:declined|refused|denied|blocked|rejected|filtered)\b")
_CHATTER = re.compile(
    rf"{_FIRST_PERSON}|\A(?:{_BEGINNING}|{_PRESENTING}|let's|let (?:us|me)|insert )|[:\uff1a]\Z|[?\uff1f]|[!\uff01]."
    r"|\A(?:[^\s:]+\s){0,3}[^\s:]+\s?[:\uff1a](?:\s|\Z)|\bplease\b|\bin this (?:video|clip|scene|action)\b"
    r"|\bthe user(?:'s)? (?:wants?|asks?|asked|needs?|request|says?|is asking)"
    r"|\b(?:this|the|above|following|given) (?:text|sentence|caption|description|action|synonym|paraphrase|prompt|class"
    r"|concept|example|instruction|kind|wording)(?:'s)? (?:is|was|are|has|means|involves|describes|shows|refers|can"
    r"|could|should|would|above|below|of\b|to be\b|consists)|\bthis (?:action|sentence|caption|description|synonym)\b"
    r"|\b(?:paraphras|rephras|synonym|word count|placeholder|lorem ipsum|\d+ (?:words|tokens|characters)\b"
    r"|hope (?:this|that)|let me know|feel free|as requested|for example:|e\.g\.|i\.e\.|in other words|alternatively\b"
    r"|note that|internal server|rate limit|overloaded,|try again later|too many requests|error:)"
    r"|\b(?:options?|alternatives?|versions?|candidates?|captions?|sentences?|texts?) [\da-c]\b"
    r"|\s\(?\d{1,2}[.)]\s+\S|\s[/|]\s|://|\bwww\.|(?:\.\.\.|\u2026)\Z|\bno (?:text|answer|description|action|output)\b")
_MARKUP = re.compile(
    r"[*_#`<>{}\[\]|\\~^=$@\"()\u201c-\u201f\u00ab\u00bb\u2039\u203a\u2018\u201a\u201b\u300c-\u300f\uff02\u301d-\u301f"
    r"\u275b-\u275e\u2022\u00b7\u2016-\u2017\u2032-\u2037\u3010\u3011\u00a7\u00b6\u00b9\u00b2\u00b3\u2070-\u209f"
    r"\u2460-\u24ff]|\A\W|--|\A(?:\d{1,3}|[a-z])[.)]\s"
    r"|(?:\A|\s)['\u2019](?!(?:n|em|til|cause|tis|round|\d\ds)\b)|[^\ws]['\u2019]\s|[^\w.!%]\Z|\s[.!%]+\Z|&\w+;"
    r"|[a-z]{3}\d|[\u00bc-\u00be\u2026]")
_FOREIGN = frozenset(
    "der den dem und ein eine einen einem einer mit auf nicht wird sich ist das ich aber kann es tut mir er sie zu von "
    "im el los las una del por para lo no con otro otra su puedo un persona pessoa le les des une dans avec et sur est "
    "je ne pas mais qui ses il che gli della dei di uma um os em de do da com na que "
    "een het naar van op met och att som en till til ja jest oraz przez i w bir ve ile".split())
_ENGLISH = frozenset("the of and with to from by into at over up down out off his her their while another through "
                     "across then a an in on as is are that toward for under behind around onto between against back "
                     "each one two".split())


def _another_language(text: str, lowered: str) -> bool:
    """Letters of another script than Latin, or the small words of another language."""
    letters = (char for char in text if char.isalpha() and not char.isascii())
    if any(not unicodedata.name(char, "").startswith("LATIN ") for char in letters):
        return True
    words = re.findall(r"[^\W\d_]+", lowered)
    foreign = _FOREIGN & set(words)
    return len(foreign) > 1 and 4 * len(foreign) >= len(words) or len(words) > 8 and not _ENGLISH & set(words)


def _without_thoughts(answer: str) -> str:
    """What follows the last thought, or stands before the first; nothing where a thought does not end."""
    ends = [match.end() for match in _THOUGHT_ENDS.finditer(answer)]
    rest = answer[ends[-1]:] if ends else answer
    begun = _THOUGHT_BEGINS.search(rest)
    if begun:
        return ""
    if ends and not rest.strip(_BLANKS):
        first = _THOUGHT_BEGINS.search(answer)
        return answer[:first.start()] if first else ""
    return rest


def _peeled(text: str) -> str:
    """A text with one layer less of what is around it."""
    text = _first_turn(html.unescape(text).strip(_BLANKS))
    if text[:1] in ("{", "["):
        text = _only_text(text)
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped:
        return wrapped[2].strip(_BLANKS)
    lines = [" ".join(line.split()) for line in _FENCE.sub("", text).splitlines()]
    if len(lines) > 1:
        lines = [line for line in lines if any(map(str.isalnum, line)) and line.casefold() not in _ROLES]
        lines = [line for line in lines if not _AROUND.match(line) or _REFUSAL.search(line.casefold())] or lines
    if len(lines) > 1:
        return "\n".join(lines)
    text = "".join(lines).strip(_BLANKS)
    for mark in (_GREETING, _INTRODUCTION, _LABEL, _LIST_MARK):
        if (found := mark.match(text)) and not _REFUSAL.search(text[:found.end()].casefold()):
            text = text[found.end():]
    text = _EMPHASIS.sub(r"\2", _AFTERWORD.sub("", text))
    return _unquoted(text).strip(_BLANKS)


def _first_turn(text: str) -> str:
    """The first turn that says something, without the marks of turns and the names of roles."""
    if not (turns := [turn.strip(_BLANKS) for turn in _TURN.split(text)])[1:]:
        return text
    return next((turn for turn in turns if any(map(str.isalnum, turn)) and turn.casefold() not in _ROLES), "")


def _only_text(text: str) -> str:
    """The text in JSON that holds one and no other; other JSON as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    while isinstance(value, list | dict) and len(value) == 1:
        value = value[0] if isinstance(value, list) else next(iter(value.values()))
    return value if isinstance(value, str) else text


def _unquoted(text: str) -> str:
    """A text out of one pair of quotation marks or brackets, which may stand before its full stop."""
    stop = text[-1:] if text[-1:] in (".", "!", ",") and text[-2:-1] in "".join(_CLOSED_BY.values()) else ""
    inner = text.removesuffix(stop)
    if len(inner) < 3 or inner[-1] not in _CLOSED_BY.get(inner[0], ""):
        return text
    opening, closing, inner = inner[0], inner[-1], inner[1:-1].strip(_BLANKS)
    if opening != "'" and opening != "\u2018" and opening != "\u2019" and (opening in inner or closing in inner):
        return text
    return inner if inner.endswith(".") else inner + stop.replace(",", "")
