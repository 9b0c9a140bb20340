#!/bin/sh
# Prints the Pythons that can run the bridge: one of each version, the newest first. Given one, it
# prints that, or nothing where it cannot run the bridge.

# pyenv's commands are there for every version and refuse to run those that are not chosen, Debian's
# Python may have no venv: so each is tried, and pyenv's versions are looked for in its folder.
candidates() {
    printf '%s\n' "$PATH" | tr ':' '\n' | sed "s|\$|/python$1|"
    printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1."*[0-9]"/bin/python$1" | sort -rV
}

version() {
    "$1" -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])' </dev/null 2>/dev/null
}

for supported in 3.14 3.13 3.12 3.11; do
    if [ $# -gt 0 ]; then printf '%s\n' "$1"; else candidates "$supported"; fi |
        while IFS= read -r python; do
            if [ "$(version "$python")" = "$supported" ]; then
                printf '%s\n' "$python"
                break
            fi
        done
done
