#!/usr/bin/env bash
# Make project.tar.xz with the code of 07094fc, which wrote format 1: `make.sh <clone of Exper> <Python with its
# requirements>`. It holds repository.bundle, __result__ and __statistic__, with a run of each kind and a search.
# Run it as root: a host name of its own, and a fixed folder, keep this machine out of the records.
set -eu

if [[ ${3:-} != inside ]]; then
    exec unshare --mount --uts "$(realpath "$0")" "$(realpath "$1")" "$(realpath --no-symlinks "$2")" inside
fi
here=$(dirname "$0") clone=$1 python=$2 project=/tmp/format_1
hostname lab
rm -rf "$project"
git init --quiet --initial-branch=main "$project"
git -C "$clone" archive 07094fc -- code .gitignore \
    ':!code/tests' ':!code/docs' ':!code/benchmarks' ':!code/examples' | tar -x -C "$project"
cd "$project"
export GIT_AUTHOR_NAME='A U Thor' GIT_AUTHOR_EMAIL=author@example.com CI=true HOME=$project/home
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
VIRTUAL_ENV=$(dirname "$(dirname "$python")")
export VIRTUAL_ENV

exper=("$python" -I code/exper/launch.py)

# Wait until a run has saved a number of epochs.
saved() { until [[ -e __result__/$1/checkpoint/epoch_$2.path ]]; do sleep 0.01; done; }

# Change lines of config.py by name, as in `set_config epochs=16 'logger=[]'`.
set_config() {
    local change
    for change; do sed -i "s|^${change%%=*} = .*|${change%%=*} = ${change#*=}|" code/config.py; done
    git add --all
    git commit --quiet --message="$*"
}

set_config epochs=16 'model={"name": "mlp", "hidden": [8]}' 'logger=["tensorboard"]' 'verbose="epoch"' threads=1 \
    'hardware_every_seconds=None' 'metric=[{"name": "acc"}, {"name": "f1"}]'
"${exper[@]}" run finished -f

"${exper[@]}" run interrupted -f &
saved interrupted/0 5
kill -TERM $!
wait $! || [[ $? == 143 ]]

"${exper[@]}" run died -f &
supervisor=$!
saved died/0 5
mapfile -t training < <(pgrep --parent $supervisor)
kill -KILL $supervisor "${training[@]}"
wait $supervisor || true

set_config 'optimizer={"name": "sgd", "lr": 1e38}'
"${exper[@]}" run failed -f || [[ $? == 1 ]]

set_config epochs=20 'optimizer={"name": "adam", "lr": 0.003}' 'monitor="max val/acc"' \
    'search={"optimizer.lr": {"low": 1e-6, "high": 0.1, "log": True}}'
"${exper[@]}" search wide --trials 4 --sampler random --pruner halving -f

"$python" - __result__/*/0/run.json <<'END'  # of the machine only what the code requires
import json, re, sys
from pathlib import Path

required = {"python", *re.findall(r"^[\w-]+", Path("code/requirements.txt").read_text(), re.M)}
for path in map(Path, sys.argv[1:]):
    record = json.loads(path.read_text())
    record["versions"] = {name: version for name, version in record["versions"].items() if name in required}
    for started in (record, *record["sessions"]):
        started["boot_id"] = "00000000-0000-4000-8000-000000000000"
    path.write_text(json.dumps(record, indent=2) + "\n")
END
git -c pack.compression=0 bundle create --quiet repository.bundle --all
tar --create --sort=name --owner=0 --group=0 repository.bundle __result__ __statistic__ | xz -9 >"$here/project.tar.xz"
