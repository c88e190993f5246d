#!/usr/bin/env bash
# Make sure that the Debian packages which the tests need are here.
#   tools/debian_packages.sh test    PostgreSQL's server, git, faketime, Chromium, what steps run
#   tools/debian_packages.sh ci      the above and what a bare machine needs for the checks themselves
# As root, or where sudo asks for no password, missing ones are installed; else this stops with the one line to run.
set -euo pipefail

missing=()
need() { # need PACKAGE COMMAND...: the package, if the command fails
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb'; }

purpose=${1:-test}
if [[ $purpose == ci ]]; then
    need make command -v make
    need python3-venv "${PYTHON:-python3}" -c 'import ensurepip'
fi
need postgresql has_postgres
need git command -v git
need mercurial command -v hg
need subversion command -v svnadmin
need brz command -v bzr
need cvs command -v cvs
need darcs command -v darcs
need patch command -v patch
need openssh-client command -v ssh-keygen
need openssh-server test -x /usr/sbin/sshd
need faketime command -v faketime
need chromium command -v chromium
# What steps of the library run.
need gcc command -v gcc
need make command -v make
need cmake command -v cmake
need cppcheck command -v cppcheck
need pyflakes3 command -v pyflakes3
need pylint command -v pylint
need python3-sphinx command -v sphinx-build
need python3-twisted command -v trial3
need rpm command -v rpmbuild
need python3-subunit /usr/bin/python3 -c 'import subunit'
need pass command -v pass

[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -eq 0 ]]; then
    as_root=()
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "Missing Debian packages. Install them with:" >&2
    echo "    sudo apt-get install -y ${missing[*]}" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "This system has no apt-get; install what corresponds to: ${missing[*]}" >&2
    exit 1
fi
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q >/dev/null
"${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
