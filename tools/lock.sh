#!/usr/bin/env bash
# Write the lock files: names, versions and hashes for every platform, and no address of any index.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v uv >/dev/null; then
    echo "uv is needed to resolve anew: python3 -m pip install uv" >&2
    exit 1
fi
compile=(uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate
         --no-emit-package buildwright-worker "$@")
# The runtime first: the development lock may add to it, never differ from it.
"${compile[@]}" pyproject.toml worker/pyproject.toml --python-version 3.11 -o requirements/runtime.txt
"${compile[@]}" pyproject.toml worker/pyproject.toml requirements/dev.in --python-version 3.11 \
    -c requirements/runtime.txt -o requirements/dev.txt
"${compile[@]}" requirements/peer.in --python-version 3.11 -o requirements/peer.txt
