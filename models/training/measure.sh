#!/usr/bin/env bash
# Measures the shipped model and the trainer: every figure of the model card and of docs/figures.md.
#   models/training/measure.sh DATA OUT
# DATA: the folder that prepare.py wrote; OUT: a folder for one JSON file a figure. Needs the built program (cargo build --release).
# Then: python3 models/training/card.py --figures OUT     writes the tables into CARD.md and docs/figures.md
set -euo pipefail
data=$1
out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
baton=${BATON:-$root/target/release/baton}
columns=(--text-column text --label-column label)
mkdir -p "$out"

evaluate() { # NAME MODEL HEAD FILE [OPTION...]
  local name=$1 model=$2 head=$3 file=$4
  shift 4
  "$baton" eval --model "$model" --head "$head" --data "$data/$file" "${columns[@]}" --json "$@" >"$out/$name.json"
  echo "$name"
}

shipped=$root/models/baton-en
evaluate sentiment_semeval2017 "$shipped" sentiment eval/sentiment_semeval2017.csv
evaluate emotion_goemotions "$shipped" emotion eval/emotion_goemotions.csv --label-separator '|'
for set in hint3 natcs nlupp_hotels rasa_helpdesk; do
  evaluate "intent_$set" "$shipped" intent "eval/intent_$set.csv"
done
evaluate act_multidogo "$shipped" act eval/act_multidogo.csv
evaluate language "$shipped" language eval/language.csv
evaluate examples_hwu64 "$shipped" examples train/hwu64.csv
evaluate examples_banking77 "$shipped" examples train/banking77.csv

# An operator's own head on the frozen trunk. The second fit has its features cached: its time is the figure.
for set in banking77 clinc150 hwu64; do
  option=()
  [ "$set" = clinc150 ] && option=(--out-of-scope-label oos)
  for round in features timed; do
    rm -rf "$out/$set"
    "$baton" train --head "$set" --data "$data/train/$set.csv" "${columns[@]}" --out "$out/$set" --json "${option[@]}" >"$out/train_$set.json"
  done
  evaluate "own_$set" "$out/$set" "$set" "eval/$set.csv"
done
