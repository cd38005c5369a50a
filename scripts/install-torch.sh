#!/bin/sh
# Installs the torch that requirements.lock pins, in the build that suits this machine, and says which and why.
#
#   scripts/install-torch.sh PYTHON auto|cpu|cuda INDEX_OF_CPU_BUILDS
#
# `auto` prefers a build and goes on without it; the other two end with a remedy if they cannot have what they name.
set -eu
python=$1 wanted=$2 index=$3
version=$(sed -n 's/^torch==//p' requirements.lock)
installed=$("$python" -m pip list --format freeze --disable-pip-version-check | sed -n 's/^torch==//p')

pip_install() {
    "$python" -m pip install --disable-pip-version-check --no-compile --no-deps "$@"
}

has_card() {
    [ -e /proc/driver/nvidia/version ] || [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]
}

refuse() {
    echo "$1" >&2
    exit 1
}

case $wanted in
    auto) ;;
    cpu | cuda) [ "$(uname)" = Linux ] || refuse "TORCH=$wanted: there is one build of torch for $(uname); leave TORCH out" ;;
    *) refuse "TORCH=$wanted is not a build of torch: give TORCH=cpu, TORCH=cuda, or leave it out" ;;
esac

if [ "$wanted" = auto ]; then
    case $installed in
        "$version" | "$version"+*)
            echo "torch $installed is installed and stays (TORCH=cpu or TORCH=cuda installs that build)"
            exit
            ;;
    esac
    [ "$(uname)" = Linux ] || exit 0
    if has_card; then
        build=cuda reason="there is an NVIDIA card here"
    else
        build=cpu reason="there is no NVIDIA card here"
    fi
else
    build=$wanted reason="TORCH=$wanted asks for it"
fi

if [ "$build" = cpu ]; then
    case $installed in "$version+cpu") exit ;; esac
    echo "torch $version: the CPU build, about 0.2 GB to download, because $reason"
    if pip_install --timeout 15 --retries 1 --index-url "$index" "torch==$version+cpu"; then
        exit
    fi
    [ "$wanted" = auto ] || refuse "There is no CPU build of torch $version at $index: name another index with TORCH_CPU_INDEX=..."
    echo "No CPU build could be had from $index (TORCH_CPU_INDEX names another index)."
    echo "So pip takes the build that its own index offers: on x86-64 that of CUDA, about 3 GB to download and 5 GB on disk."
else
    case $installed in "$version" | "$version"+cu*) exit ;; esac
    echo "torch $version: the CUDA build, about 3 GB to download and 5 GB on disk with its libraries, because $reason"
    pip_install "torch==$version,!=$version+cpu" ||
        [ "$wanted" = auto ] ||
        refuse "pip's index has no CUDA build of torch $version: name another index with PIP_EXTRA_INDEX_URL=..."
fi
