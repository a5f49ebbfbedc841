# The part of source.sh for zsh: `continue`, `title` and completion.

# Without an argument, or with a number, `continue` is the loop's keyword. Under LOCAL_LOOPS a function can't continue
# its caller's loop, so `continue` stays the keyword: use `con`.
if [[ ! -o local_loops ]]; then
    continue() {
        case "${1:-}" in
            *[!0-9]*) _exper continue "$@" ;;
            *) builtin continue "$@" ;;
        esac
    }
fi

# Oh My Zsh calls its own `title` at every prompt: those calls still reach it.
if typeset -f title >/dev/null && [[ "$(typeset -f title)" != *_exper_is_prompt* ]]; then
    functions[_exper_kept_title]=${functions[title]}
fi
_exper_is_prompt() {
    emulate -L zsh
    local caller=${funcstack[3]:-}
    case $caller in
        omz_*|precmd|preexec) ;;
        *) (( ${precmd_functions[(Ie)$caller]} + ${preexec_functions[(Ie)$caller]} )) ;;
    esac
}
title() {
    if typeset -f _exper_kept_title >/dev/null && _exper_is_prompt; then
        _exper_kept_title "$@"
    else
        _exper title "$@"
    fi
}

# Ask Python once for the words that complete the line up to the cursor.
_exper_complete() {
    emulate -L zsh
    local -a candidates
    candidates=(${(f)"$(_exper complete "${(@)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null)"})
    compadd -S '' -- ${(M)candidates:#*[=+]}
    compadd -- ${candidates:#*[=+]}
}
if typeset -f compdef >/dev/null; then
    compdef _exper_complete exper run continue con rerun re record title table expls expels itb
fi
