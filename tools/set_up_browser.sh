#!/bin/sh
# Finds Chromium and its driver for `make browser_test`; installs them if it is root on Debian.
set -eu

there() {
    command -v chromedriver >/dev/null 2>&1 || return 1
    for program in chromium chromium-browser google-chrome; do
        if command -v "$program" >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

if there; then exit 0; fi
if [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium and chromium-driver, once ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends \
        chromium chromium-driver fonts-liberation; } >&2 || true
    if there; then exit 0; fi
fi
echo "error: no Chromium with chromedriver found; install both" \
    "(Debian: apt-get install chromium chromium-driver)" >&2
exit 1
