#!/usr/bin/env bash
# Measures the shipped model and the trainer: every figure of the model card and of docs/figures.md.
#   models/training/measure.sh DATA OUT
# DATA: the folder that prepare.py wrote; OUT: a folder for one JSON file a figure. Needs the built program (cargo build --release) and
# the packages of requirements.txt (PYTHON names the interpreter).
# Then: python3 models/training/card.py --figures OUT     writes the tables into CARD.md and docs/figures.md
set -euo pipefail
data=$1
out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
baton=${BATON:-$root/target/release/baton}
python=${PYTHON:-python3}
columns=(--text-column text --label-column label)
mkdir -p "$out/f32" "$out/int8"

evaluate() { # NAME MODEL HEAD FILE [OPTION...]
  local name=$1 model=$2 head=$3 file=$4
  shift 4
  "$baton" eval --model "$model" --head "$head" --data "$data/$file" "${columns[@]}" --json "$@" >"$out/$name.json"
  # The reference engine, which is held against the training framework, and the one with a byte an activation.
  "$baton" eval --model "$model" --head "$head" --data "$data/$file" "${columns[@]}" --json --engine candle "$@" >"$out/f32/$name.json"
  "$baton" eval --model "$model" --head "$head" --data "$data/$file" "${columns[@]}" --json --engine int8 "$@" >"$out/int8/$name.json"
  echo "$name"
}

shipped=$root/models/baton-en
evaluate sentiment_semeval2017 "$shipped" sentiment eval/sentiment_semeval2017.csv
evaluate emotion_goemotions "$shipped" emotion eval/emotion_goemotions.csv --label-separator '|'
for set in hint3 natcs nlupp_hotels rasa_helpdesk; do
  evaluate "intent_$set" "$shipped" intent "eval/intent_$set.csv"
done
evaluate intent_hard "$shipped" intent eval/hard.csv
for set in pairs sgd; do
  evaluate "act_$set" "$shipped" act "eval/act_$set.csv" --proposal-column bot
done
columns=(--text-column text --label-column sentiment)
evaluate sentiment_tone "$shipped" sentiment eval/tone.csv
columns=(--text-column text --label-column emotions)
evaluate emotion_tone "$shipped" emotion eval/tone.csv --label-separator '|'
columns=(--text-column text --label-column label)
evaluate language "$shipped" language eval/language.csv
# Texts that no training has seen: the trunk has learned from the training rows of these sets.
evaluate examples_clinc150 "$shipped" examples eval/issues_clinc150.csv
evaluate examples_banking77 "$shipped" examples eval/banking77.csv

# How often the engines give a message the labels of f32.
"$python" "$root/models/training/agreement.py" --data "$data" --out "$out" --baton "$baton"
# The same tests and more in the training framework, apart from Baton; what simpler models reach; whether the sentence vector kept its use.
for script in evaluate embedding; do
  "$python" "$root/models/training/$script.py" --data "$data" --out "$out"
done
[ -f "$out/floors.json" ] || "$python" "$root/models/training/floors.py" --data "$data" --out "$out"

# An operator's own head on the shipped trunk. The second fit has its features cached: its time is the figure.
for set in banking77 clinc150 hwu64; do
  option=()
  [ "$set" = clinc150 ] && option=(--out-of-scope-label oos)
  for round in features timed; do
    rm -rf "$out/$set"
    "$baton" train --head "$set" --data "$data/train/$set.csv" "${columns[@]}" --out "$out/$set" --json "${option[@]}" >"$out/train_$set.json"
  done
  evaluate "own_$set" "$out/$set" "$set" "eval/$set.csv"
done
