# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Every target of ours links tarsier_warnings; headers of libraries come in as SYSTEM.
add_library(tarsier_warnings INTERFACE)
target_compile_options(tarsier_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports std::string operations inlined at -O2 as overlapping copies (gcc bug 105651).
  target_compile_options(tarsier_warnings INTERFACE -Wno-restrict)
endif()
