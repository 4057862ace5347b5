# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What `scripts/test sanitize` and `scripts/test fuzz` build.
add_custom_target(unit_tests)
add_custom_target(fuzz_targets)

# tarsier_room(NAME [LINK targets…] [PRIVATE_LINK targets…] [TEST_LINK targets…])
# One folder of src/ as a library tarsier_NAME. Its *_test.cpp become the test NAME_test (label
# unit: no kernel, no root, no network), its *_bench.cpp the benchmark NAME_bench; nothing else has
# to be listed anywhere.
function(tarsier_room name)
  cmake_parse_arguments(room "" "" "LINK;PRIVATE_LINK;TEST_LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  set(tests ${sources})
  set(benches ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cpp$")

  if(sources)
    add_library(tarsier_${name} STATIC ${sources})
    target_link_libraries(tarsier_${name} PUBLIC tarsier_include ${room_LINK}
      PRIVATE ${room_PRIVATE_LINK} tarsier_warnings)
    target_include_directories(tarsier_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  else()
    add_library(tarsier_${name} INTERFACE)
    target_link_libraries(tarsier_${name} INTERFACE tarsier_include ${room_LINK})
    target_include_directories(tarsier_${name} INTERFACE ${PROJECT_SOURCE_DIR}/src)
  endif()

  if(TARSIER_TESTS AND tests)
    tarsier_test(${name}_test SOURCES ${tests} LINK tarsier_${name} ${room_TEST_LINK} LABEL unit)
  endif()
  if(TARSIER_TESTS AND benches)
    add_executable(${name}_bench ${benches})
    target_link_libraries(${name}_bench PRIVATE tarsier_${name} ${room_TEST_LINK} tarsier_warnings
      benchmark::benchmark_main)
  endif()
endfunction()

# tarsier_test(NAME SOURCES files… [LINK targets…] LABEL unit|live|integration [TIMEOUT seconds])
# A GoogleTest program. A test that cannot run skips with the reason in words (GTEST_SKIP); ctest
# shows it as skipped, never as passed.
function(tarsier_test name)
  cmake_parse_arguments(test "" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT test_TIMEOUT)
    set(test_TIMEOUT 120)
  endif()
  add_executable(${name} ${test_SOURCES})
  target_link_libraries(${name} PRIVATE ${test_LINK} tarsier_warnings GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE TARSIER_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    TARSIER_BINARY_DIR="${PROJECT_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name} --gtest_color=no)
  if(test_LABEL STREQUAL "unit")
    add_dependencies(unit_tests ${name})
  endif()
  # Skipped is a program that passed nothing, failed nothing and skipped something: with a failure the
  # list of skipped tests is not the end of the output, and a match would hide it.
  set_tests_properties(${name} PROPERTIES LABELS ${test_LABEL} TIMEOUT ${test_TIMEOUT}
    SKIP_REGULAR_EXPRESSION
    "PASSED  \\] 0 tests\\.\n\\[  SKIPPED \\] [0-9]+ tests?, listed below:\n(\\[  SKIPPED \\] [^\n]*\n)*$")
endfunction()
