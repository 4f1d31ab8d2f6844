"""Does the sentence vector keep its use? The original trunk against that of a package, on what stands on the vector in Baton.

embedding.py --data DATA --out OUT [--package models/baton-en]

For both trunks: accuracy of a linear head on banking77 (what an operator's own head reaches), accuracy with five examples an intent over five draws (intents by example:
the nearest mean of examples), and the share of pairs of one issue found where 1 % of pairs of two issues are taken for one (`contacts.same_issue`). OUT receives
`embedding.json`. Intervals are 95 % over bootstrap resamples of the test rows; for the five draws they are over the rows of all draws.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from evaluate import Package, interval, rows_of
from floors import INVERSE_L2, frozen_vectors
from prepare import HERE

EXAMPLES, DRAWS, PAIRS, WRONG_MAX = 5, 5, 50_000, 0.01


def share(right: np.ndarray) -> dict:
    """The mean of booleans with its interval."""
    return {"value": float(right.mean()), "interval_95": interval(lambda rows: right[rows].mean(), len(right))}


def same_issue(vectors: np.ndarray, labels: np.ndarray) -> dict:
    """Pairs of one issue found at the cosine that WRONG_MAX of the pairs of two issues reach; the interval over resamples of the pairs of one issue."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, len(labels), (2, 40 * PAIRS))
    cosines = np.einsum("ij,ij->i", vectors[a[:PAIRS]], vectors[b[:PAIRS]])
    cosine = float(np.quantile(cosines[labels[a[:PAIRS]] != labels[b[:PAIRS]]], 1 - WRONG_MAX))
    same = np.flatnonzero((labels[a] == labels[b]) & (a != b))[:PAIRS]
    return {"cosine": cosine} | share(np.einsum("ij,ij->i", vectors[a[same]], vectors[b[same]]) >= cosine)


def figures(vectors: dict[str, np.ndarray], train: list[dict], test: list[dict]) -> dict:
    """The three figures of one trunk; `vectors` by text."""
    x, y = np.stack([vectors[row["text"]] for row in train]), np.array([row["label"] for row in train])
    x_test, y_test = np.stack([vectors[row["text"]] for row in test]), np.array([row["label"] for row in test])
    linear = LogisticRegression(C=INVERSE_L2, max_iter=300).fit(x, y)
    names = sorted(set(y.tolist()))
    right = []
    for draw in range(DRAWS):
        rng = random.Random(draw)
        means = np.stack([x[rng.sample(np.flatnonzero(y == name).tolist(), EXAMPLES)].mean(0) for name in names])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        right.append(np.array(names)[(x_test @ means.T).argmax(1)] == y_test)
    return {"linear_head": share(linear.predict(x_test) == y_test), "five_examples": share(np.concatenate(right)), "same_issue": same_issue(x_test, y_test)}


def main() -> None:
    """Writes embedding.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for embedding.json")
    parser.add_argument("--package", type=Path, default=HERE.parent / "baton-en", metavar="DIR")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    train, test = (rows_of(arguments.data / part / "banking77.csv") for part in ("train", "eval"))
    texts = sorted({row["text"] for row in train + test})
    package = Package(arguments.package)
    trained = package.vectors(texts, {"pooling": package.package.embedding_pooling, "normalize": True})
    frozen = frozen_vectors(texts)
    result = {name: figures(dict(zip(texts, vectors, strict=True)), train, test) for name, vectors in (("frozen", frozen), ("trained", trained))}
    result["cosine_to_the_original"] = float(np.einsum("ij,ij->i", frozen, trained).mean())
    (arguments.out / "embedding.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
