#!/usr/bin/env bash
# Renew the pinned lists of what the image is made of: docker/lock.sh          (needs uv and a network)
#
#   requirements-build.txt  what makes wheels, with hashes
#   requirements.txt        all that the sink, Spark and the demo need but torch, with hashes
#   requirements-cuda.txt   torch from PyPI, whose Linux build has CUDA, and what only that needs, with hashes
#   requirements-cpu.txt    the same torch from PyTorch's own index of CPU builds
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pin() {
  uv pip compile --quiet --no-header --no-annotate --generate-hashes --upgrade \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"
}

pin docker/requirements-build.in --output-file docker/requirements-build.txt

all=$(mktemp)
trap 'rm -f "$all"' EXIT
pin pyproject.toml docker/requirements.in --extra all --constraint docker/requirements-build.txt --output-file "$all"
rm -f docker/requirements.txt docker/requirements-cuda.txt
awk '/^[a-z]/ { file = /^(torch|triton|cuda-|nvidia-)/ ? "docker/requirements-cuda.txt" : "docker/requirements.txt" } { print > file }' "$all"
printf -- '--index-url https://download.pytorch.org/whl/cpu\n%s\n' "$(grep -o '^torch==[0-9.]*' "$all")" > docker/requirements-cpu.txt
