"""Averages the weights of trained runs: flatter than each of them ("Model soups", Wortsman et al. 2022).

average.py --runs RUN [RUN ...] --out RUN

The runs began from one trunk and were trained on the same data (refused otherwise); they may differ in seed, rates and passes. OUT receives `trained.pt`, as
export.py reads it, whose seed is that of the first run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

# What train.py writes of a run beside its weights.
RECIPE = ("seed", "passes", "layer_decay", "precision", "distil", "rate", "noise", "bytes")


def main() -> None:
    """Writes the average."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", required=True, metavar="RUN", help="folders that train.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for the result")
    arguments = parser.parse_args()
    runs = [torch.load(run / "trained.pt", map_location="cpu", weights_only=True) for run in arguments.runs]
    for run, folder in zip(runs, arguments.runs, strict=True):
        for key in ("data", "labels"):
            if run[key] != runs[0][key]:
                raise SystemExit(f"{folder}: {key} differs from that of {arguments.runs[0]}")
    model = {name: sum(run["model"][name].double() for run in runs).div(len(runs)).float() for name in runs[0]["model"]}
    arguments.out.mkdir(parents=True, exist_ok=True)
    averaged = runs[0] | {"model": model, "averaged": [{key: run.get(key) for key in RECIPE} for run in runs]}
    torch.save(averaged, arguments.out / "trained.pt")


if __name__ == "__main__":
    main()
