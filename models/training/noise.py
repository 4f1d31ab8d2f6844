"""Messages as people type them: typing mistakes, abbreviations, missing punctuation, filling words.

Used twice, with different draws: `train.py` mixes noisy forms of its rows in, `evaluate.py` reads test files in noisy forms. Every function takes its random
numbers from the generator that it is given, so the same generator gives the same text.
"""

from __future__ import annotations

import random
import re

# Neighbours on a QWERTY keyboard.
NEIGHBOURS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl", "p": "ol", "a": "qsz", "s": "adwx",
    "d": "sfec", "f": "dgrv", "g": "fhtb", "h": "gjyn", "j": "hkum", "k": "jlim", "l": "kop", "z": "xas", "x": "zcs", "c": "xvd", "v": "cbf",
    "b": "vng", "n": "bmh", "m": "njk",
}
# How words are shortened in chats.
SHORT = {
    "you": "u", "your": "ur", "are": "r", "please": "pls", "thanks": "thx", "because": "cuz", "with": "w", "people": "ppl", "tomorrow": "tmrw",
    "to": "2", "for": "4", "and": "n", "what": "wat", "want": "wanna", "okay": "k", "message": "msg", "account": "acct", "about": "abt", "before": "b4",
    "have": "hav", "the": "teh", "know": "kno", "though": "tho", "really": "rly", "password": "pw", "going": "goin",
}
# What comes before a request in chats and calls without changing it.
OPENINGS = (
    "hi", "hello", "hey", "hi there", "good morning", "hello there", "hey there", "hi team", "Dear support,", "ok", "so", "um", "uh", "yeah hi", "well",
    "sorry", "quick question", "one more thing", "hi i have a question", "hello, i hope you can help me", "um yeah", "so basically", "ok so", "also",
    "uh yeah i was just calling because", "yes hi, um,", "hi, i was wondering", "right, so", "listen", "hey quick one", "@user", "yes so,",
)
# What comes after one.
CLOSINGS = (
    "thanks", "thank you", "pls", "please", "thanks in advance", "can you help?", "any help?", "cheers", "thx", "help", "please advise", "asap please", "ok?",
    "let me know", "hope you can help", "regards", "http", "is that ok?", "thank you so much", "waiting",
)


def typo(word: str, rng: random.Random) -> str:
    """A word of three or more letters with one mistake: a letter dropped, doubled, swapped with the next, or replaced by a neighbour on the keyboard."""
    places = [at for at, char in enumerate(word) if char.isalpha()]
    if len(places) < 3:
        return word
    at = rng.choice(places[:-1])
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[: at + 1] + word[at:]
    if kind == 2:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + rng.choice(NEIGHBOURS.get(word[at].lower(), word[at])) + word[at + 1 :]


def with_typos(text: str, share: float, rng: random.Random) -> str:
    """The text with one mistake in this share of its words of four or more characters."""
    return " ".join(typo(word, rng) if len(word) >= 4 and rng.random() < share else word for word in text.split(" "))


def shortened(text: str, share: float, rng: random.Random) -> str:
    """The text with this share of the words that chats shorten shortened, and apostrophes left out."""
    words = (SHORT.get(word.lower(), word) if rng.random() < share else word for word in text.split(" "))
    return " ".join(words).replace("'", "").replace("’", "")


def unpunctuated(text: str) -> str:
    """The text without full stops, commas, semicolons, colons, question and exclamation marks at the end of words."""
    return re.sub(r"[.,;:?!]+(?=\s|$)", "", text)


def casual(text: str, rng: random.Random) -> str:
    """A noisy form for training: any of typing mistakes, shortened words, missing punctuation, lower case."""
    if rng.random() < 0.7:
        text = with_typos(text, rng.choice((0.08, 0.15, 0.25)), rng)
    if rng.random() < 0.4:
        text = shortened(text, 0.5, rng)
    if rng.random() < 0.5:
        text = unpunctuated(text)
    if rng.random() < 0.5:
        text = text.lower()
    return text


def filled(text: str, fillers: list[str], rng: random.Random) -> str:
    """A request among other words: an opening, a sentence of backstory, a closing; at least one of them."""
    kind = rng.random()
    before = rng.choice(OPENINGS) if kind < 0.6 else ""
    story = rng.choice(fillers) if fillers and 0.45 < kind < 0.85 else ""
    after = rng.choice(CLOSINGS) if kind > 0.75 or rng.random() < 0.15 else ""
    if story and rng.random() < 0.3:
        parts = (before, text, story, after)
    else:
        parts = (before, story, text, after)
    joined = ""
    for part in (part for part in parts if part):
        if joined and joined[-1] not in ".,!?" and rng.random() < 0.6:
            joined += rng.choice((".", ",", ",", "!")) if part is not text or story else ","
        joined += (" " if joined else "") + part
    return joined
