#!/bin/sh
# Makes the virtual environment of the Makefile's targets, unless it is up to date.
#
#   sh tools/set_up.sh VENV           from the checkout's top folder
#
# Environment: PYTHON      the interpreter to use, else the first of 3.11, 3.12, 3.13 that is there
#              TENSORFLOW  cpu or gpu, else gpu where an NVIDIA GPU answers on Linux
#
# VENV/.installed is written last: cpu or gpu, the checkout, a checksum of the requirements. An
# environment of another Python than PYTHON is made again. VENV/.installing is left if pip was killed:
# pip may take half a package for a complete one, so the next call starts over (pip's cache keeps the
# downloads).
set -eu

venv=$1
stamp=$venv/.installed

fail() {
    echo "error: $*" >&2
    exit 1
}

# TensorFlow has wheels for these and no other versions of Python.
fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Which interpreter this is, also from within a virtual environment of it.
identity() {
    "$1" -c 'import os, sys; print(sys.version, os.path.realpath(sys.base_prefix))'
}

find_python() {
    lame=
    for candidate in "${PYTHON:-python3.11}" python3.12 python3.13 python3 python; do
        if fits "$candidate"; then
            if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                printf '%s\n' "$candidate"
                return
            fi
            lame=${lame:-$candidate}
        fi
        [ -z "${PYTHON:-}" ] || break
    done
    if [ -n "$lame" ]; then
        fail "$lame has no venv module; install it (Debian, Ubuntu: the package python3-venv or" \
            "python3.11-venv), or name another Python: make PYTHON=/path/to/python3.11"
    elif [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is no Python 3.11, 3.12 or 3.13 that runs;" \
            "give the path of one: make PYTHON=/path/to/python3.11"
    fi
    fail "no Python 3.11, 3.12 or 3.13 found; install one," \
        "or say where it is: make PYTHON=/path/to/python3.11"
}

choose_tensorflow() {
    if [ "$(uname -s)" = Linux ] && nvidia-smi -L >/dev/null 2>&1; then
        echo gpu
    else
        echo cpu
    fi
}

state() {
    printf '%s\n' "$1" "$PWD"
    cat setup.cfg setup.py pyproject.toml | cksum
}

installed=
[ ! -f "$stamp" ] || installed=$(head -n 1 "$stamp")
wanted=${TENSORFLOW:-${installed:-$(choose_tensorflow)}}
case $wanted in
    cpu | gpu) ;;
    *) fail "TENSORFLOW=$wanted: choose cpu or gpu" ;;
esac

works=
other=
python=
if [ -x "$venv/bin/python" ] && fits "$venv/bin/python"; then works=yes; fi
if [ -n "${PYTHON:-}" ]; then
    python=$(find_python) || exit 1
    if [ -n "$works" ] && [ "$(identity "$python")" != "$(identity "$venv/bin/python")" ]; then
        [ -n "$installed" ] || [ -f "$venv/.installing" ] || fail "$venv is of another Python than PYTHON=$PYTHON, and was not" \
            "made by make: remove it, or choose another place: make VENV=folder"
        works=
        other=yes
    fi
fi
if [ -n "$works" ] && [ -n "$installed" ] && [ "$(state "$wanted")" = "$(cat "$stamp")" ]; then
    exit 0
fi

[ -n "$python" ] || python=$(find_python) || exit 1
[ -z "$other" ] || echo "$venv is of another Python than PYTHON=$PYTHON and is made again" >&2
echo "setting up $venv, once: downloads TensorFlow ($wanted) and other packages, some minutes ..." >&2
rm -f "$stamp"
if [ -f "$venv/.installing" ] ||
    { [ -f "$venv/pyvenv.cfg" ] && { [ -z "$works" ] || [ "${installed:-$wanted}" != "$wanted" ]; }; }
then
    # Its Python is gone or another one is wanted, or it has the other TensorFlow: two of them in one
    # environment break each other.
    rm -rf "$venv"
fi
ours=$installed
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv "$venv" >&2 || fail "$python could not make the virtual environment $venv"
    ours=yes
fi
[ -z "$ours" ] || touch "$venv/.installing"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --editable ".[$wanted,perceptual,serve,dev]" >&2 || {
    rm -f "$venv/.installing"
    fail "pip could not install what is needed, its last lines say why; the same command resumes"
}
state "$wanted" >"$stamp.new"
mv "$stamp.new" "$stamp"
rm -f "$venv/.installing"
echo "set up $venv; the next time this is quick and needs no network" >&2
