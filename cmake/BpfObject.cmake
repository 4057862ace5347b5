# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# tarsier_bpf_object(NAME SOURCE)
# Compiles a .bpf.c with clang for the BPF target and embeds the ELF: an OBJECT library
# bpf_NAME with the function tarsier::NAME_object(), declared in the generated NAME_object.h.
find_program(BPF_CLANG NAMES clang-19 REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
pkg_check_modules(LIBBPF REQUIRED libbpf>=1.3)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(BPF_ARCH x86_64)
  set(BPF_TARGET_ARCH x86)
else()
  message(FATAL_ERROR "bpf/vmlinux has no vmlinux.h for ${CMAKE_SYSTEM_PROCESSOR}: make one with "
    "`bpftool btf dump file /sys/kernel/btf/vmlinux format c` and name the architecture here")
endif()

function(tarsier_bpf_object name source)
  get_filename_component(source ${source} ABSOLUTE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror
      -Wno-unused-parameter -Wno-missing-declarations -Wno-address-of-packed-member
      -D__bpf__ -D__TARGET_ARCH_${BPF_TARGET_ARCH}
      -I${PROJECT_SOURCE_DIR}/bpf -isystem ${PROJECT_SOURCE_DIR}/bpf/vmlinux/${BPF_ARCH}
      -MD -MT ${object} -MF ${object}.d -c ${source} -o ${object}.full
    # libbpf's linker keeps BTF and leaves DWARF behind.
    COMMAND ${BPFTOOL} gen object ${object} ${object}.full
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "Building BPF object ${name}.bpf.o"
    VERBATIM)

  set(generated ${CMAKE_CURRENT_BINARY_DIR}/${name}_object)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/object.h.in ${generated}.h @ONLY)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/object.cpp.in ${generated}.cpp @ONLY)
  set_source_files_properties(${generated}.cpp PROPERTIES OBJECT_DEPENDS ${object})
  add_library(bpf_${name} STATIC ${generated}.cpp)
  target_include_directories(bpf_${name} PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
  target_link_libraries(bpf_${name} PUBLIC tarsier_include PRIVATE tarsier_warnings)
endfunction()
