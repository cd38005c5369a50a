#!/bin/sh
# Chromium for the tests of the page: installed where that is possible without asking, else a word on how.
set -u
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium for the tests of the page"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
fi
if ! command -v chromium >/dev/null; then
    echo "chromium is not installed, and cannot be from here: the tests of the page need it (e.g. apt install chromium)" >&2
fi
