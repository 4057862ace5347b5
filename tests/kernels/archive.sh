# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Debian's archive as this machine knows it, without touching the machine's own apt. Sourced by
# fetch, systemd and tests/bare/run, never run.

# private_apt TOOL STATE WORD…: apt-get or apt-cache with lists, cache and status of its own.
private_apt() {
  local tool=$1 state=$2
  shift 2
  "$tool" -qq -o "Dir::State=$state" -o "Dir::State::status=$state/status" \
    -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache" \
    -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3 \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@"
}

make_state() {
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/parts"
  : >"$1/status"
}

# archive_uris STATE: the addresses of Debian's archive, the main one first. `indextargets` knows
# only what was downloaded before; where `apt-get update` never ran, the machine's sources are read
# into lists of our own.
archive_uris() {
  local format='$(ORIGIN)|$(LABEL)|$(REPO_URI)' targets state=$1
  if [ -n "${TARSIER_DEBIAN_URIS:-}" ]; then
    tr -s ' ' '\n' <<<"$TARSIER_DEBIAN_URIS"
    return
  fi
  targets=$(apt-get indextargets --format "$format" 2>/dev/null | grep '^Debian|' || true)
  if [ -z "$targets" ]; then
    make_state "$state"
    private_apt apt-get "$state" update >&2 || true
    targets=$(private_apt apt-get "$state" indextargets --format "$format" |
      grep '^Debian|' || true)
  fi
  { grep '^Debian|Debian|' <<<"$targets"; grep -v '^Debian|Debian|' <<<"$targets"; } |
    cut -d'|' -f3 | awk 'NF && !seen[$0]++'
}

# debootstrap and what it starts know a proxy from the environment only.
export_proxy() {
  local proxy
  proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy)
  [ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy=${http_proxy:-$proxy}
}
