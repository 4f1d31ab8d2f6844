#!/usr/bin/env bash
# Fits every head of models/baton-en on prepared data, in place, and renews its parity file.
#   models/training/fit.sh DATA     DATA: the folder that prepare.py wrote
# Needs the built program (cargo build --release) and, for parity.py, the packages of requirements.txt (PYTHON names the interpreter).
set -euo pipefail
data=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
model=$root/models/baton-en
baton=${BATON:-$root/target/release/baton}

python=${PYTHON:-python3}

# Begins with the bare trunk, so that nothing of an earlier fit is left.
rm -f "$model/heads.safetensors"
cat >"$model/heads.json" <<'JSON'
{"format": 1, "name": "baton-en", "version": "0.1.0", "max_seq_len": 256, "embedding": {"pooling": "mean"}, "heads": []}
JSON
"$python" "$root/models/training/parity.py" --package "$model"

train() { "$baton" train --model "$model" --out "$model" --text-column text --label-column label "$@"; }

# Sentiment and emotion read the layer before the last: the last one is shaped for similarity of topics. Chosen by the log loss of held-out rows.
train --head sentiment --data "$data/train/sentiment.csv" --balanced --layer 5
train --head emotion --data "$data/train/emotion.csv" --label-separator '|' --window-max anger,frustration,anxiety --layer 5
train --head intent --data "$data/train/intent.csv" --out-of-scope-label out_of_scope \
  --window-max talk_to_human,cancel_or_close,security_concern,legal_threat,privacy_request,distress
train --head act --data "$data/train/act.csv"
train --target language --data "$data/train/language.csv"
train --target examples --data "$data/train/clinc150.csv"
"$python" "$root/models/training/parity.py" --package "$model"
