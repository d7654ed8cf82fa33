#!/bin/sh
# Makes ./.venv ready for `make demo` and `make test`, or says in one line what is missing.
#
# Read from the environment: PYTHON (interpreter to use), TORCH_INDEX (package index, or folder of
# wheels, that torch comes from), TMPDIR and everything pip reads itself.
#
# Files in .venv: .ready      what the finished set-up was made from; written last
#                 .unfinished process id of a running (or killed) set-up
#                 .own        this script made the folder, from the Python named inside; it may delete it
#                 setup.log   pip's log

set -u

NEWEST_MINOR=14          # of Python 3: the newest for which every locked package has a build
CPU_NEED_MIB=2500        # installed packages and pip's temporary copies, CPU build of torch
CUDA_NEED_MIB=9000       # the same with the default build for Linux, which brings CUDA
CPU_INDEX=https://download.pytorch.org/whl/cpu

root=$(cd -- "$(dirname -- "$0")/.." && pwd -P) || exit 2
cd -- "$root" || exit 2
venv=.venv
log=$venv/setup.log
python=$venv/bin/python
unset PYTHONPATH PYTHONHOME

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$*"; exit 2; }

# --- what is there -------------------------------------------------------------------------------

fingerprint() {
    printf 'folder %s\n' "$root"
    cksum <requirements.lock || return 1
    cksum <pyproject.toml
}

recorded() { sed -n "s|^$1 ||p" "$venv/.ready" 2>/dev/null; }

python_works() { [ -x "$python" ] && "$python" -c pass 2>/dev/null; }

is_ready() {
    [ -f "$venv/.ready" ] || return 1
    case $(cat "$venv/.ready") in "$(fingerprint)"*) ;; *) return 1 ;; esac
    [ -z "${TORCH_INDEX:-}" ] || [ "$TORCH_INDEX" = "$(recorded torch_index)" ] || return 1
    ! is_other_python_wanted && python_works
}

is_other_python_wanted() {
    [ -n "${PYTHON:-}" ] && [ -e "$venv/.own" ] && [ "$(command -v -- "$PYTHON")" != "$(cat "$venv/.own")" ]
}

is_running() {
    pid=$(cat "$venv/.unfinished" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
    # Another program may have been given the number since; where ps cannot tell, believe the file.
    command -v ps >/dev/null 2>&1 || return 0
    case $(ps -p "$pid" -o args= 2>/dev/null) in *bootstrap*) return 0 ;; *) return 1 ;; esac
}

# --- Python --------------------------------------------------------------------------------------

probe() {
    # Runs on any Python from 2.7: prints "major minor yes|no", the last for "can make a venv".
    "$1" -c '
import sys
try:
    import ensurepip, venv
    able = "yes"
except ImportError:
    able = "no"
sys.stdout.write("%d %d %s" % (sys.version_info[0], sys.version_info[1], able))' 2>/dev/null
}

candidates() {
    # Every interpreter on PATH, the user's own default first.
    for name in python3 python python3.11 python3.12 python3.13 python3.14; do
        old_ifs=$IFS
        IFS=:
        set -f
        for folder in $PATH; do
            case $folder in "$root/$venv"/*) continue ;; esac
            [ -x "$folder/$name" ] && [ ! -d "$folder/$name" ] && printf '%s\n' "$folder/$name"
        done
        set +f
        IFS=$old_ifs
    done
}

judge_python() {
    # Sets verdict to: good, old, new, no-venv or broken; and version.
    verdict=broken version='does not run'
    found=$(probe "$1") || return 0
    # shellcheck disable=SC2086  # three words
    set -- $found
    [ $# -eq 3 ] || return 0
    version=$1.$2
    if [ "$1" -lt 3 ] || { [ "$1" -eq 3 ] && [ "$2" -lt 11 ]; }; then verdict=old
    elif [ "$1" -gt 3 ] || [ "$2" -gt "$NEWEST_MINOR" ]; then verdict=new
    elif [ "$3" = no ]; then verdict=no-venv
    else verdict=good; fi
}

stop_without_venv() {
    stop "Python $2 ($1) has no venv or ensurepip module, which makes the .venv." \
        "On Debian or Ubuntu: apt install python3-venv. Or name another: PYTHON=/path/to/python3.11"
}

find_asked_python() {
    base=$(command -v -- "$PYTHON") || stop "PYTHON=$PYTHON: there is no such program."
    judge_python "$base"
    case $verdict in
        good) ;;
        no-venv) stop_without_venv "$base" "$version" ;;
        broken) stop "PYTHON=$PYTHON does not run as a Python." ;;
        *) stop "PYTHON=$PYTHON is Python $version; Python 3.11 to 3.$NEWEST_MINOR is needed." ;;
    esac
}

find_python() {
    [ -z "${PYTHON:-}" ] || { find_asked_python; return; }
    seen='' lacking='' lacking_version=''
    while IFS= read -r base; do
        [ -n "$base" ] || continue
        judge_python "$base"
        case $verdict in
            good) return ;;
            no-venv) lacking=$base lacking_version=$version ;;
            old | new) seen="$seen, $base is $version" ;;
        esac
    done <<LIST
$(candidates)
LIST
    [ -z "$lacking" ] || stop_without_venv "$lacking" "$lacking_version"
    seen=${seen#, }
    stop "no Python 3.11 to 3.$NEWEST_MINOR on PATH (found: ${seen:-none})." \
        "Install one, or name it: PYTHON=/path/to/python3.11"
}

# --- disk ----------------------------------------------------------------------------------------

free_mib() {
    # Mount points and devices may hold spaces, so the columns are found from the per cent sign.
    kib=$(df -Pk -- "$1" 2>/dev/null | sed -n '$s/.*[^0-9]\([0-9][0-9]*\)  *[0-9]*% .*/\1/p')
    [ -n "$kib" ] && echo $((kib / 1024))
}

takes_cuda_build() {
    case ${TORCH_INDEX:-} in
        '') ;;
        *cpu*) return 1 ;;
        *) [ ! -d "$TORCH_INDEX" ]; return ;;
    esac
    [ "$(uname -s)" = Linux ] || return 1
    pinned=$(sed -n 's/^torch==//p' requirements.lock)
    # A CPU build that pip's own settings offer ranks above the plain version, and is taken.
    ! "$python" -m pip --disable-pip-version-check --no-input index versions torch 2>/dev/null |
        grep -qF "$pinned+cpu"
}

scarce_folder() {
    # Prints "folder: free MiB" of the first place that has less than $1 MiB.
    for folder in "$root" "${TMPDIR:-}"; do
        [ -n "$folder" ] && free=$(free_mib "$folder") || continue
        [ "$free" -ge "$1" ] || { echo "$folder has $free MiB free"; return 0; }
    done
    return 1
}

check_disk_for_any_build() {
    ! scarce=$(scarce_folder "$CPU_NEED_MIB") ||
        stop "not enough disk: $scarce; the packages need about $CPU_NEED_MIB MiB" \
            "(CPU build of torch) to $CUDA_NEED_MIB MiB (default build)."
}

check_disk_for_this_build() {
    if scarce=$(scarce_folder "$CUDA_NEED_MIB") && takes_cuda_build; then
        give_up "not enough disk: $scarce; the default build of torch needs about $CUDA_NEED_MIB MiB." \
            "Free some, or take the CPU build (about $CPU_NEED_MIB MiB): make setup TORCH_INDEX=$CPU_INDEX"
    fi
}

# --- set-up --------------------------------------------------------------------------------------

give_up() {
    # A folder that was whole before stays; a half-made one is made anew the next time.
    [ "$mode" = create ] || rm -f "$venv/.unfinished"
    stop "$@"
}

why_pip_failed() {
    if grep -q 'No space left on device' "$log" 2>/dev/null; then
        echo 'the disk is full'
    elif grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Network is unreachable|Connection refused' "$log" 2>/dev/null; then
        echo 'the package index cannot be reached (no network, or a proxy is needed)'
    else
        sed -n 's/.*ERROR: //p' "$log" 2>/dev/null | tail -n 1 | grep . || echo 'see its log'
    fi
}

pip_install() {
    "$python" -m pip --disable-pip-version-check --no-input --quiet --log "$log" install "$@" </dev/null ||
        give_up "pip could not install the packages: $(why_pip_failed). Its whole log: $log"
}

remove_venv() {
    [ ! -L "$venv" ] || stop "$venv is a link to a folder that cannot be used: remove the link."
    [ ! -e "$venv" ] || [ -e "$venv/.own" ] || [ -f "$venv/pyvenv.cfg" ] ||
        stop "$venv is there, but no Python environment and not made here: move it away."
    rm -rf -- "$venv" || stop "cannot remove the half-made $venv: remove it by hand."
}

create_venv() {
    find_python
    remove_venv
    mkdir "$venv" 2>/dev/null || stop "cannot write in $root: is it read-only, or another user's?"
    echo "$base" >"$venv/.own" && echo $$ >"$venv/.unfinished" || stop "cannot write in $root/$venv: disk full?"
    say "making $venv with Python $version ($base)"
    "$base" -m venv "$venv" >"$log" 2>&1 ||
        stop "Python $version ($base) could not make a virtual environment: $(tail -n 1 "$log") (log: $log)"
}

reuse_venv() {
    judge_python "$python"
    case $verdict in
        good | no-venv) ;;
        *) stop "$venv holds Python $version; 3.11 to 3.$NEWEST_MINOR is needed: move it away." ;;
    esac
    torch_from=${TORCH_INDEX:-$(recorded torch_index)}
    { rm -f "$venv/.ready" "$log" && echo $$ >"$venv/.unfinished"; } 2>/dev/null ||
        stop "cannot write in $root/$venv: is it read-only, or another user's?"
    say "bringing $venv up to date"
}

install_torch() {
    [ -n "${TORCH_INDEX:-}" ] || return 0
    requirement=$(grep '^torch==' requirements.lock)
    if [ -d "$TORCH_INDEX" ]; then
        pip_install --no-deps --force-reinstall --no-index --find-links "$TORCH_INDEX" "$requirement"
    else
        pip_install --no-deps --force-reinstall --index-url "$TORCH_INDEX" "$requirement"
    fi
}

install_packages() {
    say "installing the packages of requirements.lock (log: $log)"
    install_torch
    # torch's own unlisted packages may exist on its index alone.
    case ${TORCH_INDEX:-} in
        *://*) pip_install --extra-index-url "$TORCH_INDEX" -r requirements.lock ;;
        *) pip_install -r requirements.lock ;;
    esac
    pip_install --no-deps --no-build-isolation --editable .
    fault=$("$python" -P -c 'import cv2, msgspec, pandas, torch, vrtspike, diagnostics' 2>&1) ||
        give_up "installed, but a package does not load: $(printf '%s\n' "$fault" | tail -n 1)"
}

finish() {
    rm -rf -- "$venv/.tmp" "$log"
    { fingerprint; printf 'torch_index %s\n' "$torch_from"; } >"$venv/.ready.new" &&
        mv -f "$venv/.ready.new" "$venv/.ready" && rm -f "$venv/.unfinished" ||
        stop "cannot write in $root/$venv: disk full?"
    say "$venv is ready"
}

trap 'say "interrupted; the next make begins the set-up anew"; exit 130' INT TERM HUP

[ -f requirements.lock ] && [ -f pyproject.toml ] ||
    stop "requirements.lock or pyproject.toml is missing in $root: clone the repository again."
is_ready && exit 0
! is_running || stop "another set-up is running here (process $(cat "$venv/.unfinished")): wait for it."

holds_torch() { ls -d "$venv"/lib/python*/site-packages/torch >/dev/null 2>&1; }

if ! python_works || is_other_python_wanted || { [ -e "$venv/.unfinished" ] && [ -e "$venv/.own" ]; }; then
    mode=create torch_from=${TORCH_INDEX:-}
    check_disk_for_any_build
    create_venv
else
    mode=update
    reuse_venv
fi
holds_torch || check_disk_for_this_build
if [ -z "${TMPDIR:-}" ]; then
    # pip unpacks gigabytes here; /tmp is often a small disk in memory.
    mkdir -p "$venv/.tmp" && TMPDIR=$root/$venv/.tmp && export TMPDIR
fi
install_packages
finish
