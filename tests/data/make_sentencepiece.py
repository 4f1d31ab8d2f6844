"""Makes two tiny SentencePiece models and what SentencePiece itself says of some texts.

Out, in sentencepiece/, each the same on every run:
- sentencepiece.bpe.model: numbered as XLM-R's (0 unknown, 1 begin, 2 end), with a table of replacements;
- spm.model: numbered as DeBERTa v3's (0 padding, 1 begin, 2 end, 3 unknown), with it;
- expected.json: for each text the ids of both models, those of XLM-R in the numbers of fairseq (one more, unknown 3).

Run with the package sentencepiece 0.2.3: python tests/data/make_sentencepiece.py
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path

import sentencepiece

OUT = Path(__file__).resolve().parent / "sentencepiece"

CORPUS = """
Where is my order? It should have been here last week.
I was charged twice and I want my money back, please.
Can you help me with my account? I cannot log in since yesterday.
Thank you, that was a great service and everything works now.
The delivery is late again and nobody answers my questions.
Please cancel my order and send the refund to my card.
I am angry, I am tired of waiting, and I want to talk to a person.
How do I change the address of my order before it ships?
Wo ist meine Bestellung? Ich warte seit zwei Wochen auf das Geld.
Danke, das war ein guter Service und alles geht wieder.
Où est ma commande ? Je voudrais un remboursement, merci.
""".strip().splitlines()

# Full-width digits, a ligature, a narrow and a no-break blank, tab and line feed.
RULES = {"\uff11": "1", "\uff12": "2", "\ufb01": "fi", "\u00a0": " ", "\u2009": " ", "\t": " ", "\n": " ", "\u2026": "..."}

TEXTS = (
    "Where is my order?",
    "  two   blanks \t and\na\u00a0tab  ",
    "I want my money back, please. I want it now!",
    "\uff11\uff12 of\ufb01ce\u2026",
    "xyzzy \u2603\u2603 \u4f60\u597d order",
    "Où est meine Bestellung",
    "refunds unhelpful ordering",
    "",
    "a",
    "order\u2603order",
)


def train(vocab_size: int, **options: object) -> bytes:
    """Train a model in the present folder; only the name of the rules' file is kept in it."""
    rules = (f"{ord(old):x}\t{' '.join(f'{ord(c):x}' for c in new)}\n" for old, new in RULES.items())
    Path("rules.tsv").write_text("".join(rules), encoding="utf-8")
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 5), model_writer=out, vocab_size=vocab_size, model_type="unigram",
        normalization_rule_tsv="rules.tsv", character_coverage=1.0, num_threads=1, shuffle_input_sentence=False, minloglevel=2, **options,
    )  # fmt: skip
    return out.getvalue()


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        xlm = train(120)
        deberta = train(
            110, pad_id=0, bos_id=1, eos_id=2, unk_id=3,
            pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]",
        )  # fmt: skip
    (OUT / "sentencepiece.bpe.model").write_bytes(xlm)
    (OUT / "spm.model").write_bytes(deberta)
    of_xlm = sentencepiece.SentencePieceProcessor(model_proto=xlm)
    of_deberta = sentencepiece.SentencePieceProcessor(model_proto=deberta)

    def fairseq(number: int) -> int:
        return 3 if number == 0 else number + 1

    texts = [
        {"text": text, "xlm-roberta": [fairseq(n) for n in of_xlm.encode(text)], "deberta-v2": of_deberta.encode(text)}
        for text in TEXTS
    ]
    lines = ",\n ".join(json.dumps(text, ensure_ascii=True) for text in texts)
    (OUT / "expected.json").write_text(f"[{lines}]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
