#!/usr/bin/env bash
# The main job on real input: fine-tunes a small model twice on this machine's own documentation.
#
#   quickstart.sh [--keep]
#
#   --keep   leaves `finetuned dev` running afterwards
#
# Exit status 0 only if both runs are COMPLETED and the evaluation loss has fallen.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=$root/build/release/bin
keep=no
[ "${1:-}" = --keep ] && keep=yes

if [ "$(id -u)" = 0 ]; then data_dir=/var/lib/finetuned/dev; else data_dir=${XDG_DATA_HOME:-$HOME/.local/share}/finetuned/dev; fi
port=${FINETUNED_QUICKSTART_PORT:-7070}
work=$data_dir/quickstart
mkdir -p "$work"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

dev_pid=
stop_dev() {
  [ -n "$dev_pid" ] || return 0
  kill -TERM "$dev_pid" 2>/dev/null || true
  wait "$dev_pid" 2>/dev/null || true
  dev_pid=
}
trap stop_dev EXIT
trap 'exit 130' INT TERM

say "1. Gathering text from this machine's documentation"
# The data folder's Python is the trainer's, but gathering needs the standard library only.
/usr/bin/python3 tools/gather_documentation.py "$work/data"

if [ -e "$data_dir/dev.ready" ] && kill -0 "$(cat "$data_dir/dev.ready")" 2>/dev/null; then
  say "2. Using the \`finetuned dev\` that runs already"
else
  say "2. Starting finetuned dev: Postgres, the daemon and one worker, on loopback"
  "$bin/finetuned" dev --data-dir "$data_dir" --port "$port" >"$work/dev.log" 2>&1 &
  dev_pid=$!
  until [ -e "$data_dir/dev.ready" ]; do
    kill -0 "$dev_pid" 2>/dev/null || { cat "$work/dev.log" >&2; dev_pid=; exit 1; }
    sleep 0.1
  done
  grep -v '^{' "$work/dev.log" | sed 's/^/   /;/Ctrl-C/d'
fi
finetune() { "$bin/finetune" --context dev "$@"; }

say "3. Continued pretraining of finetuned/tiny-llama on that text"
finetune run create \
  --model finetuned/tiny-llama --task continued-pretrain \
  --train-data "$work/data/text" --eval-data "$work/data/text-eval" \
  --duration 60ba --save-interval 30ba --learning-rate 0.001 --context-length 256 \
  --experiment "/quickstart/pretrain" --label quickstart=pretrain -o name >"$work/pretrain.name"
pretrain=$(cat "$work/pretrain.name")
finetune run watch "$pretrain" --exit-status

say "4. Instruction fine-tuning, starting from that run's newest checkpoint"
# Of the held-out pairs the first few: what the model answers to them is asked before and after.
mapfile -t prompts < <(/usr/bin/python3 tools/quickstart_summary.py --prompts "$work/data/pairs-eval.jsonl")
ask=()
for prompt in "${prompts[@]}"; do ask+=(--eval-prompt "$prompt"); done
checkpoint=$(finetune run checkpoints "$pretrain" -o json | /usr/bin/python3 -c '
import json, sys
print(json.load(sys.stdin)["checkpoints"][0]["path"])')
finetune run create \
  --model finetuned/tiny-llama --task instruction \
  --train-data "$work/data/pairs.jsonl" --eval-data "$work/data/pairs-eval.jsonl" \
  --custom-weights "$checkpoint" --register-to quickstart.models.documentation "${ask[@]}" \
  --duration 450ba --save-interval 150ba --learning-rate 0.001 --context-length 128 \
  --experiment "/quickstart/instruct" --label quickstart=instruct -o name >"$work/instruct.name"
instruct=$(cat "$work/instruct.name")
finetune run watch "$instruct" --exit-status

say "5. What came of it"
/usr/bin/python3 tools/quickstart_summary.py "$bin/finetune" "$work/data/pairs-eval.jsonl" "$pretrain" "$instruct"

say "Look further"
cat <<TXT
   $bin/finetune run list
   $bin/finetune run get $instruct
   $bin/finetune run events $instruct
   $bin/finetune run checkpoints $instruct
   $bin/finetune run logs $instruct
   $bin/finetune model get quickstart.models.documentation
   ls -R $data_dir/artifacts/workspaces/default/runs/$instruct/artifacts
TXT
if [ "$keep" = yes ] && [ -n "$dev_pid" ]; then
  echo "   finetuned dev goes on (process $dev_pid); stop it with: kill $dev_pid"
  dev_pid=
  trap - EXIT
elif [ -n "$dev_pid" ]; then
  echo "   These need the daemon: $bin/finetuned dev   (it was stopped; make quickstart KEEP=1 leaves it running)"
fi
