"""Makes the tiny model packages that the tests load, with the reference library's answers.

Out, beside this file, each the same on every run:
- tiny-bert/: a complete package around a random BERT (2 layers, hidden 32, 4 heads), F32, with one head of each kind;
- tiny-bert-int8/: the same with its matrices stored as int8, and the parity of the dequantised weights;
- tiny-bert-hidden.json: of tiny-bert, last hidden states [tokens][32] of six texts of different lengths, each run
  alone, for a batch with padding to be held against; and probabilities of the pair head "act" for three pairs.

Run with the packages of models/training/requirements.txt: python tests/data/make_tiny.py
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import tokenizers
import transformers
from safetensors.numpy import load_file
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "models" / "training"))

import export_trunk  # noqa: E402
import parity  # noqa: E402

# Of the first 150 seeds, the one with the most diverse answers: each label of each single-label head wins somewhere.
SEED = 9
MAX_SEQ_LEN = 32
METADATA = {"origin": "random weights, tests/data/make_tiny.py", "licence": "Apache-2.0"}

CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.2,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
}

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = """
a account again agent am an and angry any are bank bot can cancel card change charge company day days delivery
do fix for from get good great have hello help how human i in is it late lawyer let login me money month my
never new no not now of on one open or order out package password pay person please problem refund real right
send service sorry speak sue talk thank thanks that the there they this time to today twice two want was week
well what when where why will with work wrong yes you your
""".split()
SUFFIXES = ("##able", "##ed", "##er", "##ing", "##ion", "##ly", "##ment", "##s", "##un")

HEADS = {
    "format": 1,
    "name": "tiny-bert",
    "version": "0.1.0",
    "max_seq_len": MAX_SEQ_LEN,
    "embedding": {"pooling": "mean"},
    "heads": [
        {
            "name": "sentiment",
            "kind": "single_label",
            "input": "message",
            "pooling": "mean",
            "normalize": True,
            "labels": ["negative", "neutral", "positive"],
            "temperature": [1.25],
            "bias": [0.1, -0.2, 0.05],
            "priors": [0.3, 0.5, 0.2],
            "decision": "prior_ratio",
            "thresholds": [],
            "window_max": [],
        },
        {
            "name": "emotion",
            "kind": "multi_label",
            "input": "message",
            "pooling": "cls",
            "normalize": False,
            "labels": ["anger", "gratitude"],
            "temperature": [0.9, 1.4],
            "bias": [-0.3, 0.2],
            "priors": [0.2, 0.1],
            "decision": "probability",
            "thresholds": [0.4, 0.9],
            "window_max": ["anger"],
        },
        {
            "name": "intent",
            "kind": "single_label",
            "input": "message",
            "pooling": "mean",
            "normalize": True,
            "labels": ["refund", "greeting", "legal_threat", "out_of_scope"],
            "temperature": [0.8],
            "bias": [0.0, 0.1, -0.1, 0.2],
            "priors": [0.3, 0.2, 0.1, 0.4],
            "decision": "probability",
            "thresholds": [],
            "window_max": ["legal_threat"],
            "scope": {
                "out_of_scope_label": "out_of_scope",
                "weights": [1.0, 0.5, -0.3],
                "bias": 0.1,
                "threshold": 0.5,
            },
        },
        {
            "name": "act",
            "kind": "single_label",
            "input": "pair",
            "pooling": "mean",
            "normalize": True,
            "labels": ["accepts", "rejects", "other"],
            "temperature": [1.1],
            "bias": [0.0, 0.05, -0.05],
            "priors": [0.25, 0.25, 0.5],
            "decision": "probability",
            "thresholds": [],
            "window_max": [],
        },
    ],
}

# All fit a window of MAX_SEQ_LEN tokens, though most words fall into single characters here.
PARITY_TEXTS = (
    "Where is my refund?",
    "hello",
    "REFUND MY MONEY NOW!!!",
    "Thanks 😊 great service",
    "Déjà vu, señor Müller",
    "Order #4471-B: $1,299.99",
    "[no] {yes} <b> \"why\" & 50% @ ~/a_b\\c|d^e`",
    "I can't pay; they're wrong.",
    "https://a.example/b?c=d#e",
    "我的订单 please",
    "Ich will ein Geld",
    "ꙮ 𐍈 \u200bzero\u00a0width\ttabs\nnew",
    "unhelpful charged refunded payments",
    "x" * 101 + " is too long a word",
    "I am angry and I want to talk to a real person now, not to a bot, or I will sue the company.",
)
HIDDEN_TEXTS = (
    "hello",
    "Where is my order?",
    "I want my money back now, please.",
    "thanks",
    "The card was charged twice today and I have no money.",
    "I am angry and I want to talk to a real person now, not to a bot, or I will sue the company.",
)
# (message, the other side's turn before it)
PAIRS = (
    ("yes please", "Can I send a new card to you?"),
    ("No, that is not right!", "Will you cancel the order?"),
    ("What is the time?", "Let me open a refund for the order."),
)


def make_tokenizer() -> tokenizers.Tokenizer:
    """A lower-casing WordPiece tokenizer over WORDS, SUFFIXES and every printable ASCII character."""
    characters = [chr(code) for code in range(ord("!"), ord("~") + 1) if not chr(code).isupper()]
    inner = [f"##{character}" for character in characters if character.isalnum()]
    entries = dict.fromkeys([*SPECIAL_TOKENS, *characters, *inner, *WORDS, *SUFFIXES])
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def make_weights(config: dict, random: np.random.RandomState) -> dict[str, np.ndarray]:
    """Random float32 weights for every parameter of BertModel; words weigh most, so that texts come out far apart."""
    trunk = transformers.BertModel(transformers.BertConfig(**config), add_pooling_layer=False)
    weights = {}
    for name, parameter in sorted(trunk.named_parameters()):
        values = random.standard_normal(tuple(parameter.shape))
        if name.endswith("LayerNorm.weight"):
            values = 1.0 + 0.1 * values
        elif parameter.ndim == 1:
            values = 0.05 * values
        elif name != "embeddings.word_embeddings.weight":
            values = 0.2 * values
        weights[name] = values.astype(np.float32)
    return weights


def make_heads(hidden_size: int, random: np.random.RandomState) -> dict[str, np.ndarray]:
    """Random weights for HEADS; wider where the input has length 1, so that probabilities are not all alike."""
    tensors = {}
    for spec in HEADS["heads"]:
        inputs = hidden_size * (4 if spec["input"] == "pair" else 1)
        spread = 2.0 if spec["normalize"] else 0.3
        name, labels = spec["name"], len(spec["labels"])
        tensors[f"{name}.weight"] = (spread * random.standard_normal((labels, inputs))).astype(np.float32)
        tensors[f"{name}.bias"] = (0.2 * random.standard_normal(labels)).astype(np.float32)
    return tensors


def make_package(folder: Path) -> None:
    """Write the F32 package, parity included."""
    random = np.random.RandomState(SEED)
    tokenizer = make_tokenizer()
    config = export_trunk.package_config({**CONFIG, "vocab_size": tokenizer.get_vocab_size()})
    folder.mkdir(exist_ok=True)
    export_trunk.write_json(folder / "config.json", config, indent=2)
    export_trunk.write_json(folder / "tokenizer.json", json.loads(tokenizer.to_str()))
    export_trunk.write_safetensors(folder / "model.safetensors", make_weights(config, random), METADATA)
    export_trunk.write_json(folder / "heads.json", HEADS, indent=2)
    export_trunk.write_safetensors(folder / "heads.safetensors", make_heads(config["hidden_size"], random), METADATA)
    parity.write_parity(folder, PARITY_TEXTS, PAIRS)


def make_int8_package(source: Path, folder: Path) -> None:
    """Write the package `source` again with its matrices as int8, and with its own parity."""
    folder.mkdir(exist_ok=True)
    for file in ("config.json", "tokenizer.json", "heads.json", "heads.safetensors"):
        shutil.copyfile(source / file, folder / file)
    stored = export_trunk.store(load_file(source / "model.safetensors"), "int8")
    export_trunk.write_safetensors(folder / "model.safetensors", stored, METADATA)
    parity.write_parity(folder, PARITY_TEXTS, PAIRS)


def make_hidden(folder: Path, path: Path) -> None:
    """Write the hidden states of HIDDEN_TEXTS and the "act" probabilities of PAIRS, from the package in `folder`."""
    package = parity.load_package(folder)

    def states(text: str) -> np.ndarray:
        return parity.hidden_states(package.trunk, parity.input_ids(package, text))

    texts = [
        {
            "text": text,
            "input_ids": parity.input_ids(package, text),
            "hidden_states": parity.rounded(states(text)),
        }
        for text in HIDDEN_TEXTS
    ]
    act = next(head for head in package.heads if head.spec["input"] == "pair")
    pairs = [
        {
            "message": message,
            "previous": previous,
            "probabilities": {
                act.spec["name"]: parity.rounded(parity.pair_probabilities(act, states(message), states(previous)))
            },
        }
        for message, previous in PAIRS
    ]
    parity.write_lines(path, {"texts": texts, "pairs": pairs})


def main() -> None:
    make_package(HERE / "tiny-bert")
    make_int8_package(HERE / "tiny-bert", HERE / "tiny-bert-int8")
    make_hidden(HERE / "tiny-bert", HERE / "tiny-bert-hidden.json")


if __name__ == "__main__":
    main()
