#!/usr/bin/env bash
# Measures the default policy on public data: every trigger figure of docs/figures.md.
#   models/training/triggers.sh DATA OUT
# DATA: the folder that prepare.py wrote; OUT: a folder for one JSON file a figure. Needs the built program (cargo build --release).
# Then: python3 models/training/card.py --triggers OUT     writes the tables into docs/figures.md
set -euo pipefail
data=$1
out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
baton=${BATON:-$root/target/release/baton}
mkdir -p "$out"

replay() { # NAME FILE [OPTION...]
  local name=$1 file=$2
  shift 2
  "$baton" replay --model "$root/models/baton-en" --table "$data/$file" --text-column text --json "$@" >"$out/$name.json"
  echo "$name"
}

# What thresholds were chosen on, and what they are measured on.
for part in dev eval; do
  replay "triggers_${part}_multidogo" "$part/conversations_multidogo.csv" --conversation-column conversation
  for set in hwu64 clinc150; do
    replay "triggers_${part}_$set" "$part/sentences_$set.csv"
  done
done
# CLINC150 without the sentences that report fraud or a lost card, for which a person should take over.
python3 - "$data/eval/sentences_clinc150.csv" "$out/clinc150_rest.csv" <<'PYTHON'
import csv, sys
rows = [row for row in csv.DictReader(open(sys.argv[1], encoding="utf-8")) if row["label"] not in ("report_fraud", "report_lost_card")]
with open(sys.argv[2], "w", encoding="utf-8", newline="") as file:
    writer = csv.DictWriter(file, ["text", "label"])
    writer.writeheader()
    writer.writerows(rows)
PYTHON
"$baton" replay --model "$root/models/baton-en" --table "$out/clinc150_rest.csv" --text-column text --json >"$out/triggers_eval_clinc150_rest.json"
# Texts that no head was fitted on, as their origin labels them; for HINT3 also by what the texts themselves say.
for set in hint3 natcs nlupp_hotels rasa_helpdesk; do
  replay "triggers_$set" "eval/triggers_$set.csv" --label-column label
done
replay triggers_hint3_by_text eval/triggers_hint3.csv --label-column label_by_text
# The cosine at which two contacts are about one issue.
for file in train/banking77 eval/banking77; do
  "$baton" eval --model "$root/models/baton-en" --head same_issue --data "$data/$file.csv" --text-column text --label-column label --json \
    >"$out/same_issue_${file//\//_}.json"
done
