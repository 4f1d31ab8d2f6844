"""Makes a tiny random classifier of each family with the reference library, and writes down what it answers.

Out, beside this file, the same on every run: a folder a family, in the Hugging Face layout (config.json, tokenizer.json,
model.safetensors), and in each a reference.json:
- texts: each with its ids, special tokens included, and the logits that it gets alone (in a padded batch of all texts
  the reference library gives the same within 1e-4, which this script checks); the last ones fill the window;
- config_as_saved: the configuration as the installed release writes it, where config.json has the older form that
  folders on the hub have.

Run with the packages of models/training/requirements.txt: python tests/data/families/make.py
"""

import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).resolve().parent
SEED = 11
# Tokens of the longest text, special ones included.
WINDOW = 64

CORPUS = """
Where is my refund? I was charged twice for my subscription this month, please help me now.
The order has not been delivered and nobody answers the phone; I want to speak to a real person.
Thank you so much, that was great service. Hello, how can I change the address of my order?
I can't log in to my account, the password is wrong and the code never arrives. This is terrible.
Please cancel my contract today or I will talk to my lawyer. What does the plan cost each month?
Wo ist mein Geld? Ich warte seit zwei Wochen auf die Lieferung. Vielen Dank für die schnelle Hilfe.
Je voudrais parler à une personne, s'il vous plaît. Merci beaucoup, tout est réglé maintenant.
No puedo entrar en mi cuenta. Quiero que me devuelvan el dinero de la factura de este mes.
"""
TEXTS = [
    "hello",
    "Where is my refund?",
    "THIS IS TERRIBLE!!! I want my money back NOW",
    "Thank you so much 😊 that was great service",
    "Déjà vu, señor Müller: où est ma commande?",
    "Order #4471-B: $1,299.99",
    "I can't pay; they're wrong, aren't they",
    "我的订单 please",
    "  two  spaces,\ta tab\nand a line ",
    "https://a.example/b?c=d#e",
    "ꙮ 𐍈 ok",
    "No puedo entrar en mi cuenta, ¿me ayudan?",
    "I can't log in to my account, the password is wrong, and nobody helps me.",
]
# Repeated and cut until the window is full.
LONG = (
    "The order has not been delivered and nobody answers the phone; I want to speak to a person. ",
    "Ich warte seit zwei Wochen auf mein Geld! Why? ",
)

WORDPIECE_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def words() -> list[str]:
    """The words of the corpus, as they stand there."""
    return re.findall(r"[^\W\d_]+", CORPUS)


def characters() -> list[str]:
    """Printable ASCII, and the letters of the corpus."""
    return sorted({chr(code) for code in range(ord("!"), ord("~") + 1)} | {c for c in CORPUS if not c.isspace()})


def around(tokenizer: tokenizers.Tokenizer, first: str, last: str) -> processors.TemplateProcessing:
    """One special token before a text and one behind it."""
    ids = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    return processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B {last}", special_tokens=ids
    )


def word_piece(lowercase: bool) -> tokenizers.Tokenizer:
    """Whole words, and characters for all others."""
    fold = (lambda text: text.lower()) if lowercase else (lambda text: text)
    single = dict.fromkeys(fold(c) for c in characters())
    inner = [f"##{c}" for c in single if c.isalnum()]
    entries = dict.fromkeys([*WORDPIECE_SPECIALS, *single, *inner, *sorted({fold(word) for word in words()}), "##s", "##ed"])
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(WORDPIECE_SPECIALS)
    tokenizer.post_processor = around(tokenizer, "[CLS]", "[SEP]")
    return tokenizer


def byte_level(first: list[str], last: list[str], size: int) -> tokenizers.Tokenizer:
    """Bytes and their merges; special tokens `first` have the first ids, `last` those behind the merges."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=first, initial_alphabet=alphabet, show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(CORPUS.strip().splitlines(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in last])
    return tokenizer


def roberta_tokenizer() -> tokenizers.Tokenizer:
    tokenizer = byte_level(["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"], 400)
    pair = [(token, tokenizer.token_to_id(token)) for token in ("</s>", "<s>")]
    tokenizer.post_processor = processors.RobertaProcessing(*pair, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def modernbert_tokenizer() -> tokenizers.Tokenizer:
    tokenizer = byte_level([], ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], 395)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = around(tokenizer, "[CLS]", "[SEP]")
    return tokenizer


def sentence_pieces(specials: list[str], unknown: str, mask: str, ends: tuple[str, str]) -> tokenizers.Tokenizer:
    """Words with the mark of a beginning before them, and characters, each with the logarithm of its share."""
    counted = Counter([f"▁{word}" for word in words()] + ["▁" for _ in words()] + [c for c in CORPUS if not c.isspace()])
    counted.update(dict.fromkeys([c for c in characters()], 1))
    counted.update({"ing": 9, "er": 12, "en": 12, "s": 20, "▁I": 3})
    total = sum(counted.values())
    pieces = [(piece, math.log(count / total)) for piece, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]
    vocabulary = [(special, 0.0) for special in specials] + pieces
    tokenizer = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=specials.index(unknown), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(specials)
    tokenizer.add_special_tokens([AddedToken(mask, lstrip=True, special=True, normalized=False)])
    tokenizer.post_processor = around(tokenizer, *ends)
    return tokenizer


def labels(*names: str) -> dict:
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SENTIMENT = labels("negative", "neutral", "positive")


def bert(rows: int) -> transformers.PreTrainedConfig:
    return transformers.BertConfig(vocab_size=rows, max_position_embeddings=WINDOW, **SIZES, **SENTIMENT)


def roberta(rows: int) -> transformers.PreTrainedConfig:
    # The first token has the position behind that of the padding.
    return transformers.RobertaConfig(
        vocab_size=rows, max_position_embeddings=WINDOW + 2, type_vocab_size=1, layer_norm_eps=1e-5, **SIZES, **SENTIMENT
    )


def xlm_roberta(rows: int) -> transformers.PreTrainedConfig:
    return transformers.XLMRobertaConfig(
        vocab_size=rows, max_position_embeddings=WINDOW + 2, type_vocab_size=1, layer_norm_eps=1e-5, **SIZES, **SENTIMENT
    )


def distilbert(rows: int) -> transformers.PreTrainedConfig:
    return transformers.DistilBertConfig(
        vocab_size=rows,
        max_position_embeddings=WINDOW,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        **labels("NEGATIVE", "POSITIVE"),
    )


def deberta_v3(rows: int) -> transformers.PreTrainedConfig:
    return transformers.DebertaV2Config(
        vocab_size=rows,
        max_position_embeddings=WINDOW,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type="p2c|c2p",
        max_relative_positions=-1,
        position_biased_input=False,
        type_vocab_size=0,
        **SIZES,
        **labels("anger", "disappointment", "gratitude", "joy", "neutral"),
    )


def deberta_v2(rows: int) -> transformers.PreTrainedConfig:
    return transformers.DebertaV2Config(
        vocab_size=rows,
        max_position_embeddings=WINDOW,
        relative_attention=True,
        max_relative_positions=20,
        pos_att_type=["c2p", "p2c"],
        type_vocab_size=2,
        **SIZES,
        **SENTIMENT,
    )


def modernbert(rows: int) -> transformers.PreTrainedConfig:
    topics = {**labels("refund", "delivery", "login", "thanks"), "problem_type": "multi_label_classification"}
    return transformers.ModernBertConfig(
        vocab_size=rows,
        max_position_embeddings=WINDOW,
        local_attention=16,
        classifier_pooling="mean",
        **{**SIZES, "num_hidden_layers": 4},
        **topics,
    )


def older_deberta(config: dict) -> dict:
    """The form of the folders on the hub."""
    return {**config, "pos_att_type": "p2c|c2p", "conv_kernel_size": 0}


def older_modernbert(config: dict) -> dict:
    """The form of releases before 5: numbers in place of lists and maps."""
    kept = {key: value for key, value in config.items() if key not in ("layer_types", "rope_parameters")}
    return {
        **kept,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "layer_norm_eps": 1e-5,
        "position_embedding_type": "absolute",
        "reference_compile": None,
    }


# Where the ids are not those of the class of the configuration.
TOKEN_IDS = {
    "modernbert": {
        "pad_token_id": "[PAD]",
        "bos_token_id": "[CLS]",
        "cls_token_id": "[CLS]",
        "eos_token_id": "[SEP]",
        "sep_token_id": "[SEP]",
    }
}
XLM_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
DEBERTA_SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]

# Folder, tokenizer, configuration, its older form; rows of the word table beyond the tokenizer's entries.
FAMILIES = [
    ("bert", lambda: word_piece(True), bert, None, 0),
    ("roberta", roberta_tokenizer, roberta, None, 0),
    ("xlm-roberta", lambda: sentence_pieces(XLM_SPECIALS, "<unk>", "<mask>", ("<s>", "</s>")), xlm_roberta, None, 0),
    ("distilbert", lambda: word_piece(False), distilbert, None, 0),
    ("deberta-v3", lambda: sentence_pieces(DEBERTA_SPECIALS, "[UNK]", "[MASK]", ("[CLS]", "[SEP]")), deberta_v3, older_deberta, 27),
    ("deberta-v2", lambda: sentence_pieces(DEBERTA_SPECIALS, "[UNK]", "[MASK]", ("[CLS]", "[SEP]")), deberta_v2, None, 0),
    ("modernbert", modernbert_tokenizer, modernbert, older_modernbert, 8),
]


def fill(model: torch.nn.Module, random: np.random.RandomState) -> None:
    """Random weights, wide enough that attention is not uniform and logits are far apart."""
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = random.standard_normal(tuple(parameter.shape))
            if parameter.ndim == 1:
                is_norm = name.endswith("weight")
                values = 1.0 + 0.2 * values if is_norm else 0.1 * values
            elif "word_embeddings" not in name and "tok_embeddings" not in name:
                values = 0.25 * values
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def full(encode, text: str) -> str:
    """The text repeated, and cut where the window is full."""
    text = text * WINDOW
    fits = max(end for end in range(len(text)) if len(encode(text[:end])) <= WINDOW and end < 12 * WINDOW)
    return text[:fits]


def rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def make(name: str, tokenizer: tokenizers.Tokenizer, configure, older, spare: int) -> None:
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    rows = tokenizer.get_vocab_size() + spare
    config = configure(rows)
    for key, token in TOKEN_IDS.get(name, {}).items():
        setattr(config, key, tokenizer.token_to_id(token))
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    fill(model, np.random.RandomState(SEED))
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if older:
        (folder / "config.json").write_text(json.dumps(older(saved), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # From the folder, as anybody would.
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))

    def encode(text: str) -> list[int]:
        return fast(text)["input_ids"]

    texts = [*TEXTS, *(full(encode, text) for text in LONG)]
    ids = [encode(text) for text in texts]
    assert [len(row) for row in ids[-2:]] == [WINDOW, WINDOW], [len(row) for row in ids]
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([row])).logits[0] for row in ids]
        padded = torch.full((len(ids), WINDOW), config.pad_token_id)
        mask = torch.zeros((len(ids), WINDOW), dtype=torch.long)
        for at, row in enumerate(ids):
            padded[at, : len(row)] = torch.tensor(row)
            mask[at, : len(row)] = 1
        together = model(input_ids=padded, attention_mask=mask).logits
    difference = max((a - b).abs().max().item() for a, b in zip(alone, together))
    assert difference < 1e-4, difference
    spread = torch.stack(alone).std(dim=0).min().item()
    assert spread > 0.1, spread
    print(f"{folder.name}: {rows} rows, lengths {[len(row) for row in ids]}, spread {spread:.2f}, batch {difference:.1e}")
    reference = {
        "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}",
        "texts": [
            {"text": text, "input_ids": row, "logits": rounded(logits.tolist())}
            for text, row, logits in zip(texts, ids, alone)
        ],
        "config_as_saved": saved,
    }
    (folder / "reference.json").write_text(json.dumps(reference, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    transformers.utils.logging.disable_progress_bar()
    for name, tokenizer, configure, older, spare in FAMILIES:
        make(name, tokenizer(), configure, older, spare)
    for file in sorted(HERE.glob("*/*")):
        assert file.stat().st_size <= 300_000, file


if __name__ == "__main__":
    main()
