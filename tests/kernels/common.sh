# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What the scripts of this folder share: the cache, the list of kernels, words on stderr.
# Sourced, never run.

kernels_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# Kernels and images are big and slow to come by; they live outside of the source tree.
cache_dir=${TARSIER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tarsier}
# Debian's kernels with BTF from the oldest to the newest; 5.10 is the oldest that we support.
all_kernels=(5.10 6.1 6.12 7.2)

say() { printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

need_commands() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null ||
      die "the command $command is missing; scripts/deps test installs what the tests need"
  done
}

is_known_kernel() {
  local kernel
  for kernel in "${all_kernels[@]}"; do
    [ "$kernel" = "$1" ] && return 0
  done
  return 1
}

# live_programs BUILD GLOBS: the live test programs, one a line, whose names match one of the words of
# GLOBS. The probe that a script made for a test of its own lives in another daemon.
live_programs() {
  local globs glob
  read -ra globs <<<"$2"
  for glob in "${globs[@]}"; do
    find "$1" -maxdepth 1 -name "$glob" ! -name '*made_by_script*' -type f -perm -u+x
  done | sort -u
}
