"""Reference answers of a model package, computed apart from Baton.

In: a package folder (docs/model-package.md): config.json, tokenizer.json, model.safetensors and, where they exist,
heads.json with heads.safetensors. Out: parity.json in the same folder: for each text the input ids, the unit-length
embedding, and the calibrated probabilities of every head that reads one message; for each pair of turns those of the heads that read both.

The trunk runs in transformers' BertModel (float32, eager attention, one text at a time, so without padding) on the
package's own weights, dequantised. Pooling, heads and calibration run in numpy float64. Numbers are written with 7
significant digits. Anything that does not match the format raises: a tensor missing or left over, a text longer than
one window, a head whose shapes disagree.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.numpy import load_file

FORMAT = 1
SIGNIFICANT_DIGITS = 7
SCALE_SUFFIX = "_scale"
# Tokens of one window when a package has no heads.json yet: what all-MiniLM-L6-v2 was published with.
MAX_SEQ_LEN_WITHOUT_HEADS = 256

# Diverse on purpose: each line is here for one thing a tokenizer or an encoder can get wrong.
TEXTS = (
    "Where is my refund?",
    "hello",
    "no",
    "THIS IS THE THIRD TIME I AM WRITING TO YOU!!!",
    "Thanks so much 😊🙏 you made my day ❤️",
    "Déjà vu: my café résumé upload failed in São Paulo, señor Müller can't log in either.",
    "Order #4471-B cost $1,299.99 on 03/11/2025 at 14:35, not 1.299,99€.",
    "...?! -- (really) [no] {yes} <b>\"why\"</b> & 50% off @ 3*4=12; ~/a_b\\c|d^e`",
    "I can't, won't, and shouldn't've paid; they're wrong & it's y'all's fault.",
    "See https://shop.example.com/orders/88123?ref=mail&utm_source=x#top or mail help@example.com",
    "我的订单还没有到，请帮帮我。",
    "Ich möchte sofort mit einem Menschen sprechen, das ist unverschämt!",
    "ꙮ ⟁⟁ 𐍈 \u2603\ufe0f unknown \u200bzero\u00a0width\tand\ttabs\nand a second line",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis reauthentication",
    "Is there a way to change the delivery address after the parcel has left the warehouse?",
    "I ordered a pair of running shoes on the second of March and the confirmation said they would arrive within five "
    "days. After a week nothing had come, so I wrote to your chat and was told that the parcel was on its way. It was "
    "not: the tracking page has shown the same line since the ninth, and the carrier says that it never received "
    "anything from you. I then asked for my money back, and a colleague of yours promised me that the refund would be "
    "on my card in three working days. That was two weeks ago. Since then I have called twice, waited forty minutes "
    "each time, and explained the whole story again from the beginning to somebody new. I do not want a voucher and I "
    "do not want another apology. Please let me talk to a person who can see my account, tell me where the shoes "
    "are, and send me the money today.",
)


# A message with the turn of the bot before it.
PAIRS = (
    ("yes please, go ahead", "I can start the refund for you. Shall I?"),
    ("Done, same error.", "Please restart the app and sign in again. Does the error still appear?"),
    ("no", "Is there anything else that is still broken?"),
    ("where is my parcel???", "Your parcel was scanned at the depot yesterday. You can follow it under Orders."),
)

@dataclass(frozen=True)
class Head:
    """One entry of heads.json with its weights (float64): weight [labels, inputs], bias [labels]."""

    spec: dict
    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Package:
    """A package as the reference sees it; `heads` is empty without a heads.json."""

    tokenizer: tokenizers.Tokenizer
    trunk: transformers.BertModel
    max_seq_len: int
    embedding_pooling: str
    heads: tuple[Head, ...]


def dequantise(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stored tensors (F32, F16, or I8 [rows, columns] with NAME_scale [rows]) -> all tensors in float32."""
    plain = {}
    scales_used = set()
    for name, tensor in stored.items():
        if tensor.dtype == np.int8:
            scale = stored[name + SCALE_SUFFIX]
            if tensor.ndim != 2 or scale.dtype != np.float32 or scale.shape != tensor.shape[:1]:
                raise ValueError(f"{name}: {tensor.shape} does not go with a scale of {scale.shape} {scale.dtype}")
            plain[name] = tensor.astype(np.float32) * scale[:, np.newaxis]
            scales_used.add(name + SCALE_SUFFIX)
        elif tensor.dtype in (np.float32, np.float16):
            plain[name] = tensor.astype(np.float32)
        else:
            raise ValueError(f"{name}: no rule for {tensor.dtype}")
    return {name: tensor for name, tensor in plain.items() if name not in scales_used}


def build_trunk(config: dict, weights: dict[str, np.ndarray]) -> transformers.BertModel:
    """config.json and float32 tensors -> BertModel to run; all names must match, pooler and position ids aside."""
    bert_config = transformers.BertConfig(**config)
    bert_config._attn_implementation = "eager"
    trunk = transformers.BertModel(bert_config, add_pooling_layer=False)
    state = {
        name: torch.from_numpy(tensor)
        for name, tensor in weights.items()
        if name != "embeddings.position_ids" and not name.startswith("pooler.")
    }
    trunk.load_state_dict(state, strict=True)
    return trunk.float().eval()


def load_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """tokenizer.json -> tokenizer; refuses one that cuts or pads by itself."""
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    if tokenizer.truncation is not None or tokenizer.padding is not None:
        raise ValueError(f"{path.name}: truncation and padding must be null")
    return tokenizer


def load_heads(folder: Path, entries: list[dict], hidden_size: int) -> tuple[Head, ...]:
    """heads.safetensors and the `heads` of heads.json -> heads; shapes are checked against labels and trunk."""
    tensors = load_file(folder / "heads.safetensors") if entries else {}
    heads = []
    for spec in entries:
        name, labels = spec["name"], len(spec["labels"])
        vector = {"mean": 1, "cls": 1, "cls_mean": 2}[spec["pooling"]] * hidden_size
        inputs = {"message": vector, "pair": 4 * vector}[spec["input"]]
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        if weight.shape != (labels, inputs) or bias.shape != (labels,):
            raise ValueError(f"head {name}: weight {weight.shape}, bias {bias.shape}, expected ({labels}, {inputs})")
        if len(spec["temperature"]) not in (1, labels) or len(spec["bias"]) != labels:
            raise ValueError(f"head {name}: one temperature or one a label, and one bias a label")
        heads.append(Head(spec, weight.astype(np.float64), bias.astype(np.float64)))
    return tuple(heads)


def load_package(folder: Path) -> Package:
    """A package folder -> its tokenizer, dequantised trunk and heads."""
    # The order of additions, and so the last digit, depends on the number of threads: one, whatever the machine has.
    torch.set_num_threads(1)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    trunk = build_trunk(config, dequantise(load_file(folder / "model.safetensors")))
    heads_path = folder / "heads.json"
    if heads_path.exists():
        heads_json = json.loads(heads_path.read_text(encoding="utf-8"))
        max_seq_len, pooling = heads_json["max_seq_len"], heads_json["embedding"]["pooling"]
        heads = load_heads(folder, heads_json["heads"], config["hidden_size"])
    else:
        max_seq_len, pooling, heads = MAX_SEQ_LEN_WITHOUT_HEADS, "mean", ()
    return Package(load_tokenizer(folder / "tokenizer.json"), trunk, max_seq_len, pooling, heads)


def input_ids(package: Package, text: str) -> list[int]:
    """Text -> token ids with both special tokens; a text longer than one window raises."""
    ids = package.tokenizer.encode(text).ids
    if len(ids) > package.max_seq_len:
        raise ValueError(f"{len(ids)} tokens do not fit a window of {package.max_seq_len}: {text[:40]!r}")
    return ids


def hidden_states(trunk: transformers.BertModel, ids: list[int], layer: int | None = None) -> np.ndarray:
    """Token ids -> hidden states [tokens, hidden_size] after a layer, 1 being the first and the last by default, float32."""
    with torch.inference_mode():
        states = trunk(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    # Entry 0 holds the embeddings before the first layer.
    return states[-1 if layer is None else layer][0].numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    """A vector scaled to length 1."""
    return vector / np.linalg.norm(vector)


def pool(states: np.ndarray, pooling: str, normalize: bool) -> np.ndarray:
    """[tokens, hidden_size] -> [hidden_size], float64: mean over all tokens, special ones included, or the first; `cls_mean`: both, the first before."""
    states = states.astype(np.float64)
    mean, first = states.mean(axis=0), states[0]
    pooled = {"mean": mean, "cls": first, "cls_mean": np.concatenate([first, mean])}[pooling]
    return unit(pooled) if normalize else pooled


def probabilities(head: Head, vector: np.ndarray) -> np.ndarray:
    """The head's input vector [inputs] -> calibrated probabilities [labels]."""
    logits = head.weight @ vector + head.bias
    calibrated = logits / np.array(head.spec["temperature"]) + np.array(head.spec["bias"])
    kind = head.spec["kind"]
    if kind == "single_label":
        exponentials = np.exp(calibrated - calibrated.max())
        return exponentials / exponentials.sum()
    if kind == "multi_label":
        return 1.0 / (1.0 + np.exp(-calibrated))
    raise ValueError(f"head {head.spec['name']}: unknown kind {kind!r}")


def message_probabilities(head: Head, states: np.ndarray) -> np.ndarray:
    """Probabilities of a head with `input` = `message`, from the message's hidden states."""
    return probabilities(head, pool(states, head.spec["pooling"], head.spec["normalize"]))


def pair_probabilities(head: Head, message: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Probabilities of a head with `input` = `pair`, from the hidden states of a message and of the turn before it."""
    x = pool(message, head.spec["pooling"], head.spec["normalize"])
    y = pool(previous, head.spec["pooling"], head.spec["normalize"])
    return probabilities(head, np.concatenate([x, y, np.abs(x - y), x * y]))


def rounded(values: np.ndarray) -> list:
    """An array -> nested lists of floats with SIGNIFICANT_DIGITS digits."""
    if values.ndim > 1:
        return [rounded(row) for row in values]
    return [float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in values]


def made_by() -> str:
    """The libraries behind the reference, without their build tags."""
    return f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"


def answer(package: Package, text: str) -> dict:
    """One entry of `texts` in parity.json."""
    ids = input_ids(package, text)
    states = hidden_states(package.trunk, ids)
    return {
        "text": text,
        "input_ids": ids,
        "embedding": rounded(pool(states, package.embedding_pooling, normalize=True)),
        "probabilities": {
            head.spec["name"]: rounded(message_probabilities(head, hidden_states(package.trunk, ids, head.spec.get("layer"))))
            for head in package.heads
            if head.spec["input"] == "message"
        },
    }


def pair_answer(package: Package, text: str, previous: str) -> dict:
    """One entry of `pairs` in parity.json."""
    layers = {head.spec.get("layer") for head in package.heads}
    message, turn = ({layer: hidden_states(package.trunk, input_ids(package, one), layer) for layer in layers} for one in (text, previous))
    reading = (head for head in package.heads if head.spec["input"] == "pair")
    found = {head.spec["name"]: rounded(pair_probabilities(head, message[head.spec.get("layer")], turn[head.spec.get("layer")])) for head in reading}
    return {"text": text, "previous": previous, "probabilities": found}


def write_lines(path: Path, sections: dict[str, list[dict]]) -> None:
    """Write {"format", "made_by", section: [...], ...} compactly, one entry of a section a line."""
    head = json.dumps({"format": FORMAT, "made_by": made_by()}, separators=(",", ":"))[:-1]
    parts = [head]
    for name, entries in sections.items():
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries)
        parts.append(f'{json.dumps(name)}:[\n{lines}\n]')
    path.write_text(",\n".join(parts) + "}\n", encoding="utf-8")


def write_parity(folder: Path, texts: tuple[str, ...] = TEXTS, pairs: tuple[tuple[str, str], ...] = PAIRS) -> int:
    """Compute and write FOLDER/parity.json, the pairs where a head reads two turns; returns the number of texts."""
    package = load_package(folder)
    sections = {"texts": [answer(package, text) for text in texts]}
    if any(head.spec["input"] == "pair" for head in package.heads):
        sections["pairs"] = [pair_answer(package, text, previous) for text, previous in pairs]
    write_lines(folder / "parity.json", sections)
    return len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write parity.json of a model package.")
    parser.add_argument("--package", type=Path, required=True, metavar="DIR", help="the package folder")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="texts to use instead, UTF-8, one a line")
    args = parser.parse_args()
    texts = TEXTS
    if args.texts is not None:
        texts = tuple(line for line in args.texts.read_text(encoding="utf-8").split("\n") if line.strip())
    count = write_parity(args.package, texts)
    print(f"{args.package / 'parity.json'}: {count} texts")


if __name__ == "__main__":
    main()
