# shellcheck shell=bash
# shellcheck disable=SC2105,SC2106  # here `continue` is a command as well
# The promises of source.sh about loops and arguments, in bash and zsh; sourced by an interactive shell, or run:
#     <shell> source_cases.sh <source.sh> <file that gets the verdict>
# The program that it starts prints its words, one a line between < and >, and exits with $PROBE_EXIT.

case $- in
    *i*) ;;
    *) set -euo pipefail ;;
esac
verdict="$2"
# shellcheck source=/dev/null  # the copy under test
. "$1" && . "$1"

failed=""
expect() {
    if [[ "$2" != "$3" ]]; then
        failed="${failed}$1: expected [$2], found [$3]
"
    fi
}

seen=""
for i in 1 2 3; do
    if [[ "${i}" == 2 ]]; then continue; fi
    seen="${seen}${i}"
done
expect "for" 13 "${seen}"

seen=""
for i in 1 2 3; do
    [[ "${i}" == 2 ]] && continue
    seen="${seen}${i}"
done
expect "for, after &&" 13 "${seen}"

seen="" i=0
while [[ "${i}" -lt 3 ]]; do
    i=$((i + 1))
    case "${i}" in 2) continue ;; *) ;; esac
    seen="${seen}${i}"
done
expect "while, in a case" 13 "${seen}"

seen="" i=0
until [[ "${i}" -ge 3 ]]; do
    i=$((i + 1))
    { [[ "${i}" != 2 ]] || continue; }
    seen="${seen}${i}"
done
expect "until, after ||" 13 "${seen}"

seen=""
for i in 1 2; do
    for j in a b c; do
        if [[ "${j}" == b ]]; then continue 2; fi
        seen="${seen}${i}${j}"
    done
    seen="${seen}!"
done
expect "continue 2" 1a2a "${seen}"

level=2 seen=""
for i in 1 2; do
    for j in a b; do
        if [[ "${j}" == b ]]; then continue "${level}"; fi
        seen="${seen}${i}${j}"
    done
    seen="${seen}!"
done
expect "continue with a variable" 1a2a "${seen}"

in_a_function() {
    local k
    for k in 1 2 3; do
        if [[ "${k}" == 2 ]]; then continue; fi
        printf %s "${k}"
    done
}
seen="$(in_a_function)"
expect "in a function, in a substitution" 13 "${seen}"

seen="$(for i in 1 2 3; do
    if [[ "${i}" == 2 ]]; then continue; fi
    printf %s "${i}"
done | cat)"
expect "in a pipe" 13 "${seen}"

seen="$(printf '%s\n' 1 2 3 | while read -r i; do
    if [[ "${i}" == 2 ]]; then continue; fi
    printf %s "${i}"
done)"
expect "while read" 13 "${seen}"

seen=""
for i in 1 2 3; do
    break
done
expect "break" 1 "${i}"

# The commands, with the words as they were.
expect "exper" "<run><it's><a  b>" "$(exper run "it's" "a  b" || true)"
expect "run" "<run><x><-m><why not?><lr=1>" "$(run x -m "why not?" lr=1 || true)"
expect "continue" "<continue><x/1><-f>" "$(continue x/1 -f || true)"
expect "continue, an option" "<continue><-h>" "$(continue -h || true)"
expect "con" "<continue><x><*>" "$(con x '*' || true)"
expect "con alone" "<continue>" "$(con || true)"
expect "rerun" "<rerun><x><>" "$(rerun x "" || true)"
expect "re" "<rerun><x>" "$(re x || true)"
expect "record" "<record><x/0>" "$(record x/0 || true)"
expect "title" "<title><x>" "$(title x || true)"
expect "table" "<table><x>" "$(table x || true)"
expect "expls" "<expls>" "$(expls || true)"
expect "expels" "<expels><x>" "$(expels x || true)"
expect "itb" "<itb><x/0><--><--port><1>" "$(itb x/0 -- --port 1 || true)"

seen=""
for i in x y; do
    seen="${seen}$(continue "${i}" || true)"
done
expect "continue with a run, in a loop" "<continue><x><continue><y>" "${seen}"

for command in exper run con rerun re record title table expls expels itb; do
    code=0
    PROBE_EXIT=13 "${command}" x >/dev/null || code=$?
    expect "${command}: exit code" 13 "${code}"
done
code=0
export PROBE_EXIT=13
continue x >/dev/null || code=$?
unset PROBE_EXIT
expect "continue: exit code" 13 "${code}"

export PROBE_SHOW=BASH_COMPAT
expect "continue: what the program sees of BASH_COMPAT" "" "$(continue x || true)"
unset PROBE_SHOW

printf '%s' "${failed:-all cases pass}" >"${verdict}"
