# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# add_probe(NAME)
# One folder of probes/ as a room:
#   NAME.bpf.c      -> embedded BPF object (optional)
#   *.cpp           -> library probe_NAME, which defines `constinit const ProbeSpec NAME_probe`
#   *_test.cpp      -> test probe_NAME_test (label unit; bytes in, samples out, no kernel)
#   *_live.cpp      -> test probe_NAME_live (label live; real events against the real daemon)
#   *_fuzz.cpp      -> fuzz target (preset fuzz)
# A probe sees include/tarsier, bpf/ and its own folder; nothing else is on its include path.
#
# add_probe(NAME DIRECTORY folder [DAEMON target]) is for a folder elsewhere. Its live test is run
# against the daemon `target`, whose table has the probe (probe_table()), or left out.
function(add_probe name)
  cmake_parse_arguments(probe "" "DIRECTORY;DAEMON" "" ${ARGN})
  set(folder ${CMAKE_CURRENT_SOURCE_DIR}/${name})
  if(probe_DIRECTORY)
    set(folder ${probe_DIRECTORY})
  else()
    set(probe_DAEMON tarsier)
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  foreach(suffix test live fuzz bench)
    set(${suffix}_sources ${sources})
    list(FILTER ${suffix}_sources INCLUDE REGEX "_${suffix}\\.cpp$")
  endforeach()
  list(FILTER sources EXCLUDE REGEX "_(test|live|fuzz|bench)\\.cpp$")

  add_library(probe_${name} STATIC ${sources})
  # For "name.h" alone: a probe may be called like a system header (sched, signal).
  target_compile_options(probe_${name} PUBLIC "SHELL:-iquote ${folder}")
  target_link_libraries(probe_${name} PUBLIC tarsier_include PRIVATE tarsier_warnings)
  if(EXISTS ${folder}/${name}.bpf.c)
    tarsier_bpf_object(${name} ${folder}/${name}.bpf.c)
    target_link_libraries(probe_${name} PRIVATE bpf_${name})
  endif()
  if(TARSIER_TESTS AND test_sources)
    tarsier_test(probe_${name}_test SOURCES ${test_sources} LINK probe_${name} LABEL unit)
  endif()
  if(TARSIER_TESTS AND live_sources AND probe_DAEMON)
    tarsier_live_test(probe_${name}_live SOURCES ${live_sources} DAEMON ${probe_DAEMON})
  endif()
  if(TARSIER_FUZZ AND fuzz_sources)
    tarsier_fuzz(${name}_fuzz SOURCES ${fuzz_sources} LINK probe_${name}
      CORPUS ${folder}/corpus)
  endif()
endfunction()

# probe_table(TARGET names…): a library with probe_table() of exactly these probes.
function(probe_table target)
  set(probe_externs "")
  set(probe_entries "")
  set(probe_libraries "")
  foreach(name ${ARGN})
    string(APPEND probe_externs "extern const ProbeSpec ${name}_probe;\n")
    string(APPEND probe_entries "    &${name}_probe,\n")
    list(APPEND probe_libraries probe_${name})
  endforeach()
  set(table ${CMAKE_CURRENT_BINARY_DIR}/${target}_table.cpp)
  configure_file(${PROJECT_SOURCE_DIR}/probes/probe_table.cpp.in ${table} @ONLY)
  add_library(${target} STATIC ${table})
  target_link_libraries(${target} PUBLIC tarsier_include PRIVATE ${probe_libraries} tarsier_warnings)
endfunction()

# tarsier_live_test(NAME SOURCES files… [DAEMON target]): a live test starts the built daemon
# (livekit.h says how), one after the other, because exact counts want a quiet machine.
function(tarsier_live_test name)
  cmake_parse_arguments(live "" "DAEMON" "SOURCES" ${ARGN})
  if(NOT live_DAEMON)
    set(live_DAEMON tarsier)
  endif()
  tarsier_test(${name} SOURCES ${live_SOURCES} LINK tarsier_livekit LABEL live TIMEOUT 240)
  set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE
    ENVIRONMENT "TARSIER_BIN=$<TARGET_FILE:${live_DAEMON}>")
endfunction()

# tarsier_fuzz(NAME SOURCES files… [LINK targets…] [CORPUS folder])
# A libFuzzer program; the ctest entry runs it for TARSIER_FUZZ_SECONDS (default 20) on the kept
# corpus, which it does not write to.
function(tarsier_fuzz name)
  cmake_parse_arguments(fuzz "" "CORPUS" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${fuzz_SOURCES})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE ${fuzz_LINK} tarsier_warnings)
  add_dependencies(fuzz_targets ${name})
  set(scratch ${CMAKE_CURRENT_BINARY_DIR}/${name}.corpus)
  file(MAKE_DIRECTORY ${scratch})
  set(corpus ${scratch})
  if(fuzz_CORPUS AND EXISTS ${fuzz_CORPUS})
    list(APPEND corpus ${fuzz_CORPUS})
  endif()
  set(seconds $ENV{TARSIER_FUZZ_SECONDS})
  if(NOT seconds)
    set(seconds 20)
  endif()
  add_test(NAME ${name} COMMAND ${name} -max_total_time=${seconds} -rss_limit_mb=2048 -timeout=5
    -print_final_stats=0 ${corpus})
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 300)
endfunction()
