#!/bin/sh
# Makes a virtual environment in $1 with a Python that is new enough.
set -eu
. "$(dirname "$0")/as-root.sh"

python=
for name in python3.13 python3.12 python3.11 python3; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or later is needed; none of python3.13, python3.12, python3.11, python3 is." >&2
    exit 1
fi

# Debian keeps ensurepip, which venv needs, in a package of its own.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "$python has no ensurepip; install your system's package for Python's venv module." >&2
        exit 1
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "python$version-venv"
fi

"$python" -m venv "$1"
touch "$1/bin/pip"
