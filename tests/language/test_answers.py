"""Answers of chat models: the sentence alone, or asked for again."""
import random
import time

import pytest
from toy import ROOT

from claver_mm.clip import count_tokens
from claver_mm.language import read_bank
from claver_mm.language.answers import broken_rule, clean
from claver_mm.language.instruction import Wanted, ask

SENTENCE = "A cook lifts the lid of the pot with one hand and stirs the soup with a spoon held in the other."
WANTED = Wanted("cooking soup", "decomposition", 0)
MESSAGES = ask(WANTED, ["cooking soup"])


def rule(text: str, wanted: Wanted = WANTED) -> str | None:
    return broken_rule(clean(text), wanted, MESSAGES, set(), count_tokens)


TAKEN_OFF = {
    "markup": ["**{}**", "*{}*", "***{}***", "__{}__", "`{}`", "```\n{}\n```", "~~{}~~", "# {}", "> {}",
               "<p>{}</p>", "<text>\n{}\n</text>", "{}\n---"],
    "list marks": ["- {}", "* {}", "\u2022 {}", "\u25e6 {}", "\u2014 {}", "\u2192 {}", "\u2705 {}", "1. {}", "(1) {}",
                   "[1] {}", "1: {}", "1 - {}", "\u2460 {}", "\uff11\uff0e{}", "\u0661. {}", "\u4e00\u3001{}",
                   "1\ufe0f\u20e3 {}", "a) {}", "iv. {}"],
    "quotation marks": ['"{}"', "'{}'", "\u201c{}\u201d", "\u2018{}\u2019", "\u201e{}\u201c", "\u00ab {} \u00bb",
                        "\u300c{}\u300d", "\"'{}'\"", "\u201c\u2018{}\u2019\u201d", "&quot;{}&quot;", "({})", "[{}]"],
    "what comes first": ["Sure! Here is a sentence: {}", "Sure, here's the text:\n\n{}", "Here\u2019s the text:\n{}",
                         "Certainly! {}", "Okay, {}", "**Text:** {}", "Text:\n{}", "Caption: {}", "Sentence 1: {}",
                         "Step 1: {}", "Description \u2013 {}", "Final answer: {}", "**Caption:** *{}*"],
    "what comes last": ["{}\n\nI hope this helps!", "{} I hope this helps!", "{} Let me know if another is needed.",
                        "{} Would you like another?",
                        "{} (20 words)", "{}\n\nNote: the cook may be a woman.", "{} (Note: invented)",
                        "{}\n\nWord count: 20"],
    "marks of turns": ["{}</s>", "<s>{}</s>", "{}<|im_end|>", "{}<|eot_id|>", "[/INST] {}", "{}<end_of_turn>",
                       "<|im_start|>assistant\n{}<|im_end|>", "{}<|im_end|>\n<|im_start|>user\nAction: long jump",
                       "{}<\uff5cend\u2581of\u2581sentence\uff5c>", "### Response:\n{}", "assistant\n\n{}"],
    "thoughts": ["<think>x</think>{}", "<think>\na\nb\n</think>\n\n{}", "a thought </think> {}", "</think>{}",
                 "<think>a</think>b<think>c</think>{}", "<reasoning>x</reasoning>{}", "[THINK]x[/THINK]{}",
                 "<thinking>x</thinking><answer>{}</answer>", "analysisThe user wants soup.assistantfinal{}",
                 "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
                 "Thinking...\nx\n...done thinking.\n\n{}"],
    "json": ['{{"text": "{}"}}', '["{}"]', '```json\n[{{"caption": "{}"}}]\n```', '{{\n  "text": "{}"\n}}'],
}
ASKED_AGAIN = {
    "markup": ["**{}", '"{}', "{}\u201d", "{{{}}}", "{}<br>", "<text>{}", "\\boxed{{{}}}", "${}$", "| {} |", "{}[1]",
               '{{"action": "cooking soup", "text": "{}"}}', "{{'text': '{}'}}", "@cook {}", "[{}](http://x)",
               "{}\u00b9", "#1 {}", "<think {}"],
    "odd characters": ["\x1b[31m{}\x1b[0m", "{}\x00", "\u202e{}", "{} \U0001f372"],
    "several lines": ["{}\n{}", "1. {}\n2. the other one", "Option 1: {}\nOption 2: other words"],
    "empty": ["<think>{}", "{} <think>and", "<|channel|>analysis<|message|>{}", "analysis{}"],
    "chatter": ["The user wants a sentence. {}", "Let me think. {}", "I would write: {}",
                "{} OR mixing broth", "{} / mixing broth", "1. {} 2. The other one.", "Thinking: {}",
                "Great question! {}", "No. 1: {}", "This action involves {}", "{}..."],
    "echo of the prompt": ["Cooking soup - {}"],
}


@pytest.mark.parametrize("around", sum(TAKEN_OFF.values(), []))
def test_what_models_put_around_a_sentence_is_taken_off(around):
    """Markup, introductions, list marks and marks of turns became part of the text that CLIP encodes."""
    answer = around.format(SENTENCE)
    assert clean(answer) == SENTENCE and rule(answer) is None


@pytest.mark.parametrize("why, around", [(why, around) for why, some in ASKED_AGAIN.items() for around in some])
def test_what_is_more_than_a_sentence_is_asked_for_again(why, around):
    assert rule(around.format(SENTENCE, SENTENCE)) == why


REFUSALS = """I'm unable to help with that request.
I\u2019m not able to assist with that.
I\u02bcm sorry, but no.
Unfortunately, I cannot describe this.
I apologize, but I can't do that.
As a language model, I do not watch videos.
I must decline to describe this action.
I do not feel comfortable describing violence.
Can't help with that.
Unable to comply.
This request violates the usage policy.
It is not possible to describe this action.
No description available.
N/A
I prefer not to answer.
Let's talk about something else.
Please choose another action.
What kind of punching do you mean?
Okay.
Error: rate limit exceeded
Je suis d\u00e9sol\u00e9, mais je ne peux pas aider avec cela.
Es tut mir leid, aber das kann ich nicht beschreiben.
Ein Koch hebt mit einer Hand den Deckel und r\u00fchrt mit einem L\u00f6ffel in der Suppe.
Una persona golpea a otra en la cara con el pu\u00f1o cerrado.
\u041f\u043e\u0432\u0430\u0440 \u043c\u0435\u0448\u0430\u0435\u0442 \u0441\u0443\u043f.
\u62b1\u6b49\uff0c\u6211\u65e0\u6cd5\u63cf\u8ff0\u3002
A \u0441ook stirs the soup with a spoon
\uff21 \uff43\uff4f\uff4f\uff4b \uff53\uff54\uff49\uff52\uff53""".split("\n")


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals_and_other_languages_are_asked_for_again(answer):
    """Refusals in other words than "sorry" and "I cannot" were taken for texts of the class."""
    assert rule(answer, Wanted("punching person", "synonym", 0)) is not None


@pytest.mark.parametrize("text", [
    "a caf\u00e9 owner frothing milk with a steam wand", "hip-hop dancing to rock 'n' roll at a '90s party",
    "a person can't reach the shelf and jumps for a jar", "An assistant finally lifts the saw and the log falls apart.",
    "Here and there, dancers hop over the sticks and land on one foot.", "3 people in a row clap over their heads",
    "Unable to free his arm, a wrestler rolls over and kicks out.", "I-beams are lifted by crane; a worker waves.",
    "The waiters' hands balance trays; one of them spins, bows, and is off.", "Sure-footed goats climb the cliff face.",
    "Two fighters, one tall & one short, trade blows at the ropes.", "A note is passed from one hand to another."])
def test_good_texts_pass(text):
    assert clean(text) == text and rule(text, Wanted("x", "synonym", 0)) is None


def test_no_text_of_the_banks_of_the_project_is_changed_or_refused():
    texts = [(Wanted(name, kind, 0), text.text) for path in sorted((ROOT / "prompts").glob("*.yaml"))
             for name, entry in read_bank(path).entries.items() for kind, some in entry.items() for text in some]
    assert len(texts) > 9500
    wrong = [(wanted, text) for wanted, text in texts
             if clean(text) != text or broken_rule(text, wanted, [], set(), lambda text: 0)]
    assert not wrong


@pytest.mark.parametrize("piece", ["- ", "<think>", "</think>", "**a", "text: ", "\u201c", "[", "\n", "a ", "</s>",
                                   "&amp;", "Sure! ", "<|channel|>", "here is ", "'"])
def test_an_answer_of_ten_million_characters_takes_no_time(piece):
    """Cleaning was quadratic: a list mark a thousand times took minutes."""
    answer = piece * (10 ** 7 // len(piece))
    began = time.process_time()
    assert broken_rule(clean(answer), WANTED, MESSAGES, set(), lambda text: 0) is not None
    assert time.process_time() - began < 1


def test_whatever_is_made_of_a_sentence_is_the_sentence_or_asked_for_again():
    """Marks of every kind around it, drawn by chance: what is accepted has no mark left."""
    draw, pieces = random.Random(0), [
        "- ", "* ", "**", "text: ", "1. ", "\u201c", "\u201d", "(", ")", "{", "[", "]", "\n", "\u200b", "</s>", "#",
        "<|im_end|>", "&amp;", "`", "Sure! ", "_", " ", "Here is the text: ", '"', "'", "I hope this helps!",
        "</think>", "<think>"]
    for _ in range(2000):
        around = ["".join(draw.choices(pieces, k=draw.randint(0, 4))) for _ in range(2)]
        answer = SENTENCE.join(around)
        if broken_rule(clean(answer), WANTED, [], set(), lambda text: 0) is None:
            assert clean(answer).rstrip(".!") == SENTENCE.rstrip("."), answer
