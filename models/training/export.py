"""A trained run -> the model package: int8 trunk, heads, calibration, thresholds, parity.

export.py --run RUN --data DATA [--package models/baton-en]

RUN holds `trained.pt` of train.py, DATA is the folder of prepare.py. Everything that is fitted here is fitted on the development rows, which no training step has
seen, with the trunk as the package stores it (int8, dequantised): a temperature and a bias a label for each head, the thresholds of the emotions, the in-scope
score. The development rows of sentiment weigh by the inverse root of their label's size: halfway between the tweets, of which 16 % are negative, and labels of equal
weight. Those of intent and act weigh by the inverse root of their source's size, since the large sources are the regular ones. The language guard and the calibration of intents by example are fitted by
`baton train` afterwards (fit.sh does all).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import BertConfig, BertModel

import export_trunk
import parity
import train

NAME, VERSION, MAX_SEQ_LEN = "baton-en", "0.2.0", 256
# As the trainer of Baton has them (src/model/train/calibrate.rs, train.rs).
BIAS_RIDGE, SCOPE_RIDGE, TEMPERATURE_FACTOR_MAX, ODDS_CLAMP = 1e-4, 1e-4, 10.0, 1e-6
WINDOW_MAX = {
    "emotion": ["anger", "frustration", "anxiety"],
    "intent": ["talk_to_human", "cancel_or_close", "security_concern", "legal_threat", "privacy_request", "distress"],
}
OUT_OF_SCOPE = "out_of_scope"


def minimise(loss, parameters: list[torch.Tensor]) -> None:
    """L-BFGS in float64 over a smooth loss."""
    optimiser = torch.optim.LBFGS(parameters, lr=1.0, max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)


def calibrate(logits: np.ndarray, truth: np.ndarray, weights: np.ndarray, multi_label: bool) -> tuple[list[float], list[float]]:
    """Logits [rows, labels], truth (an index a row, or [rows, labels] with -1 for unknown) -> temperature, one or one a label, and bias."""
    z = torch.from_numpy(logits.astype(np.float64))
    w = torch.from_numpy(weights / weights.sum())
    target = torch.from_numpy(truth)
    log_temperature = torch.zeros(z.shape[1] if multi_label else 1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(z.shape[1], dtype=torch.float64, requires_grad=True)

    def loss() -> torch.Tensor:
        u = z * torch.exp(-log_temperature) + bias
        if multi_label:
            known = (target >= 0).to(u)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(u, target.clamp(min=0).to(u), reduction="none")
            fit = ((losses * known).sum(0) / known.sum(0).clamp(min=1)).sum()
        else:
            fit = (torch.nn.functional.cross_entropy(u, target, reduction="none") * w).sum()
        return fit + 0.5 * BIAS_RIDGE * (bias**2).sum()

    minimise(loss, [log_temperature, bias])
    bound = np.log(TEMPERATURE_FACTOR_MAX)
    return log_temperature.detach().clamp(-bound, bound).exp().tolist(), bias.detach().tolist()


def best_threshold(p: np.ndarray, truth: np.ndarray) -> float:
    """The threshold with the largest F1: halfway between two neighbouring probabilities."""
    order = np.argsort(-p)
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(p) + 1) + truth.sum())
    at = int(f1.argmax())
    below = p[order[at + 1]] if at + 1 < len(p) else 0.0
    return float((p[order[at]] + below) / 2)


def log_odds(p: np.ndarray) -> np.ndarray:
    """ln(p / (1 - p)), p kept off 0 and 1."""
    p = p.clip(ODDS_CLAMP, 1 - ODDS_CLAMP)
    return np.log(p / (1 - p))


def softmax(u: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    e = np.exp(u - u.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def scope(logits: np.ndarray, p: np.ndarray, outside: int, inside_rows: np.ndarray) -> dict:
    """The in-scope score for equal parts in and out of scope; features as docs/model-package.md has them."""
    kept = [label for label in range(logits.shape[1]) if label != outside]
    z = logits[:, kept].astype(np.float64)
    largest = z.max(1)
    features = np.stack([log_odds(p[:, kept].max(1)), largest + np.log(np.exp(z - largest[:, None]).sum(1)), log_odds(p[:, outside])], 1)
    x, y = torch.from_numpy(features), torch.from_numpy(inside_rows.astype(np.float64))
    share = float(y.mean())
    w = torch.where(y > 0, 0.5 / share, 0.5 / (1 - share)) / len(y)
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def loss() -> torch.Tensor:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights + bias, y, reduction="none")
        return (losses * w).sum() + 0.5 * SCOPE_RIDGE * (weights**2).sum()

    minimise(loss, [weights, bias])
    return {"out_of_scope_label": OUT_OF_SCOPE, "weights": weights.detach().tolist(), "bias": float(bias.detach()), "threshold": 0.5}


def row_weights(name: str, rows: list[train.Example]) -> np.ndarray:
    """How much each development row counts in the calibration; emotions, which have a label each, count equally."""
    if name == "emotion":
        return np.ones(len(rows))
    if name == "sentiment":
        counts = Counter(row.target for row in rows)
        return np.array([1.0 / np.sqrt(counts[row.target]) for row in rows])
    # The own files are one source, however many they are: hard ones are named FILE/KIND.
    named = ["own" if "/" in row.source else row.source for row in rows]
    sources = Counter(named)
    return np.array([1.0 / np.sqrt(sources[name]) for name in named])


def head_of(name: str, task: train.Task, model: train.Model, encoding: train.Encoding, provenance: dict) -> dict:
    """One entry of `heads` in heads.json."""
    rows = task.dev
    logits = train.predict(model, encoding, name, [row.text for row in rows], [row.bot for row in rows] if name == "act" else None)
    truth = np.array([row.target for row in rows])
    multi_label = name == "emotion"
    temperature, bias = calibrate(logits, truth, row_weights(name, rows), multi_label)
    u = logits / np.array(temperature) + np.array(bias)
    labels = list(task.labels)
    if multi_label:
        p = 1 / (1 + np.exp(-u))
        known = truth >= 0
        thresholds = [best_threshold(p[known[:, at], at], truth[known[:, at], at]) for at in range(len(labels))]
        priors = [float(truth[known[:, at], at].mean()) for at in range(len(labels))]
    else:
        thresholds = []
        weights = row_weights(name, rows)
        priors = [float(weights[truth == at].sum() / weights.sum()) for at in range(len(labels))]
    spec = {
        "name": name, "kind": "multi_label" if multi_label else "single_label", "input": "pair" if name == "act" else "message",
        "pooling": "cls_mean", "normalize": False, "labels": labels, "temperature": temperature, "bias": bias, "priors": priors,
        "decision": "prior_ratio" if name == "sentiment" else "probability", "thresholds": thresholds, "window_max": WINDOW_MAX.get(name, []),
    }
    if OUT_OF_SCOPE in labels:
        outside = labels.index(OUT_OF_SCOPE)
        spec["scope"] = scope(logits, softmax(u), outside, truth != outside)
    print(f"{name}: {len(rows)} development rows, temperature {np.round(temperature, 3)}, bias {np.round(bias, 2)}")
    return spec | {"trained_on": provenance | {"rows": len(task.train), "development_rows": len(rows)}}


def main() -> None:
    """Writes the package in place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="the folder that train.py wrote")
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--package", type=Path, default=Path(__file__).resolve().parent.parent / "baton-en", metavar="DIR")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    trained = torch.load(arguments.run / "trained.pt", map_location="cpu", weights_only=True)
    source = export_trunk.default_source()
    trunk = arguments.run / "trunk"
    trunk.mkdir(exist_ok=True)
    state = {name.removeprefix("trunk."): tensor for name, tensor in trained["model"].items() if name.startswith("trunk.")}
    for name in ("config.json", "tokenizer.json"):
        (trunk / name).write_bytes((source / name).read_bytes())
    save_file({name: tensor.numpy() for name, tensor in state.items()}, trunk / "model.safetensors")
    digest = train.data_digest(arguments.data)
    if trained["data"] != digest:
        raise SystemExit(f"{arguments.data}: its training files have the digest {digest}, the run was trained on {trained['data']}")
    origin = f"{export_trunk.SOURCE_NAME}, trained by models/training/train.py on data with SHA-256 {digest}"
    export_trunk.export(trunk, arguments.package, "int8", {"origin": origin, "licence": export_trunk.SOURCE_LICENCE})
    export_trunk.report(trunk, arguments.package)

    # The heads are calibrated on what is served: the stored weights.
    config = BertConfig(**json.loads((arguments.package / "config.json").read_text(encoding="utf-8")))
    model = train.Model(BertModel(config, add_pooling_layer=False), {name: len(labels) for name, labels in trained["labels"].items()})
    model.load_state_dict(trained["model"])
    stored = parity.dequantise(parity.load_file(arguments.package / "model.safetensors"))
    model.trunk.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in stored.items()}, strict=True)
    encoding = train.Encoding(trunk / "tokenizer.json", torch.device("cpu"))
    encoding.tokenizer.enable_truncation(MAX_SEQ_LEN)
    tasks = train.load_tasks(arguments.data)
    provenance = {"program": "models/training/train.py", "sha256": digest, "seed": trained["seed"]}
    heads = [head_of(name, tasks[name], model, encoding, provenance | {"passes": trained["passes"][name]}) for name in train.TASKS]
    tensors = {}
    for name in train.TASKS:
        tensors[f"{name}.weight"] = trained["model"][f"heads.{name}.weight"].numpy()
        tensors[f"{name}.bias"] = trained["model"][f"heads.{name}.bias"].numpy()
    save_file(tensors, arguments.package / "heads.safetensors")
    file = {"format": 1, "name": NAME, "version": VERSION, "max_seq_len": MAX_SEQ_LEN, "embedding": {"pooling": "mean"}, "heads": heads}
    export_trunk.write_json(arguments.package / "heads.json", file, indent=2)
    print(f"{parity.write_parity(arguments.package)} parity texts")


if __name__ == "__main__":
    main()
