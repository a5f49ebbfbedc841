# shellcheck shell=bash
# The commands of this project, for bash 4.4 or newer and for zsh. From any folder:
#
#     . path/to/project/code/source.sh
#
# Each function passes its arguments to Python and returns Python's exit status. Private names start with `_exper`. What
# differs between the shells is in exper/shell.bash and exper/shell.zsh: `continue` (which must stay the loop's
# keyword), `title` (Oh My Zsh has its own) and completion. The table of the names is in exper/commands/__init__.py.

# Other shells return here: they can't parse the rest.
case "${ZSH_VERSION:+zsh}${BASH_VERSION:-}" in
    zsh | 4.[4-9]* | [5-9].* | [1-9][0-9].*) ;;
    *)
        echo "source.sh: it needs zsh, or bash 4.4 or newer. Type 'bash' or 'zsh' and source it there." >&2
        return 2
        ;;
esac

# An alias of the same name would take precedence over the function.
unalias exper run continue con rerun re record title table expls expels itb 2>/dev/null || true

if [[ -n "${ZSH_VERSION:-}" ]]; then
    # shellcheck disable=SC2296  # zsh's way to say "this file"
    typeset -g _exper_code="${(%):-%x}"
else
    typeset -g _exper_code="${BASH_SOURCE[0]}"
fi
if [[ "${_exper_code}" != /* ]]; then
    _exper_code="${PWD}/${_exper_code}"
fi
if [[ -L "${_exper_code}" ]]; then
    _exper_code="$(command readlink -f -- "${_exper_code}")"
fi
_exper_code="${_exper_code%/*}"

# Start Python: the active environment's, else the project's own, else the system's; exper/environment.py decides
# whether it meets the requirements. -I: ignore PYTHON* variables and files in the working folder.
_exper_python() {
    local own="${_exper_code}/../.venv"
    if [[ -n "${VIRTUAL_ENV:-}" && -x "${VIRTUAL_ENV}/bin/python" ]]; then
        "${VIRTUAL_ENV}/bin/python" -I "$@"
    elif [[ -n "${CONDA_PREFIX:-}" && -x "${CONDA_PREFIX}/bin/python" ]]; then
        "${CONDA_PREFIX}/bin/python" -I "$@"
    elif [[ -f "${own}/exper-complete" && -x "${own}/bin/python" ]]; then
        "${own}/bin/python" -I "$@"
    elif command -v python3 >/dev/null 2>&1; then
        command python3 -I "$@"
    else
        echo "exper: there is no python3 on PATH. On Debian or Ubuntu type: apt install python3 python3-venv" >&2
        return 2
    fi
}

_exper() { _exper_python "${_exper_code}/exper" "$@"; }

if [[ -n "${ZSH_VERSION:-}" ]]; then
    # shellcheck source=/dev/null  # not bash
    . "${_exper_code}/exper/shell.zsh"
else
    # shellcheck source=exper/shell.bash
    . "${_exper_code}/exper/shell.bash"
fi

exper() { _exper "$@"; }
run() { _exper run "$@"; }
con() { _exper continue "$@"; }
rerun() { _exper rerun "$@"; }
re() { _exper rerun "$@"; }
record() { _exper record "$@"; }
table() { _exper table "$@"; }
expls() { _exper expls "$@"; }
expels() { _exper expels "$@"; }
itb() { _exper itb "$@"; }
