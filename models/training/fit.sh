#!/usr/bin/env bash
# Makes models/baton-en from prepared data and a trained run, in place.
#   models/training/fit.sh DATA RUN     DATA: the folder that prepare.py wrote; RUN: the folder of train.py, which goes on where it was stopped
# Needs the built program (cargo build --release) and the packages of requirements.txt (PYTHON names the interpreter).
set -euo pipefail
data=$1
run=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
model=$root/models/baton-en
baton=${BATON:-$root/target/release/baton}
python=${PYTHON:-python3}

[ -f "$run/trained.pt" ] || "$python" "$root/models/training/train.py" --data "$data" --out "$run"
"$python" "$root/models/training/export.py" --run "$run" --data "$data" --package "$model"

train() { "$baton" train --model "$model" --out "$model" --text-column text --label-column label "$@"; }
train --target language --data "$data/train/language.csv"
train --target examples --data "$data/train/clinc150.csv"
"$python" "$root/models/training/parity.py" --package "$model"
