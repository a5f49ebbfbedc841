# shellcheck shell=bash
# shellcheck disable=SC2154  # source.sh sets _exper_code
# The part of source.sh for bash: `continue`, `title` and completion.

# Without an argument, or with a number, `continue` is the loop's keyword.
_exper_continue() {
    # shellcheck disable=SC2104  # the caller's loop is meant
    case "${1:-}" in
        *[!0-9]*) (unset -v BASH_COMPAT && _exper continue "$@") ;;
        *) builtin continue "$@" ;;
    esac
}

# In a function, bash can continue the caller's loop only at compatibility level 4.3. An interactive shell sets it for
# this one call, by an alias. A script has no aliases, so there the level stays set. In POSIX mode no function can have
# that name: use `con`.
case $- in
    *i*) alias continue='BASH_COMPAT=4.3 _exper_continue' ;;
    *)
        if ! shopt -qo posix; then
            shopt -s compat43
            continue() { _exper_continue "$@"; }
        fi
        ;;
esac

title() { _exper title "$@"; }

# Ask Python once for the words that complete the line up to the cursor.
_exper_complete() {
    local typed="${2-}" rest="${COMP_LINE:0:COMP_POINT}" words=() answer before candidate i
    # bash also splits words at = and : but here only whitespace does.
    for ((i = 0; i < COMP_CWORD; i++)); do
        if [[ ${i} -eq 0 || "${rest}" == [[:space:]]* ]]; then
            words+=("")
        fi
        rest="${rest#"${rest%%[![:space:]]*}"}"
        rest="${rest#"${COMP_WORDS[i]}"}"
        words[-1]+="${COMP_WORDS[i]}"
    done
    if [[ "${rest}" == [[:space:]]* ]]; then
        words+=("")
    fi
    words[-1]+="${rest#"${rest%%[![:space:]]*}"}"
    before="${words[-1]%"${typed}"}"

    COMPREPLY=()
    answer="$(_exper complete "${words[@]}" 2>/dev/null)" || return 0
    if [[ -z "${answer}" ]]; then
        return 0
    fi
    while IFS= read -r candidate; do
        if [[ "${candidate}" == *[=+] ]]; then
            compopt -o nospace
        fi
        if [[ "${before}" != [\"\']* ]]; then # else readline closes the quote
            printf -v candidate %q "${candidate#"${before}"}"
        fi
        COMPREPLY+=("${candidate}")
    done <<<"${answer}"
}
complete -F _exper_complete exper run continue con rerun re record title table expls expels itb
