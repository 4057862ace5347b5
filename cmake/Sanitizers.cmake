# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# TARSIER_SANITIZE=address,undefined (preset dev) or thread (preset tsan), for everything we compile.
if(TARSIER_SANITIZE)
  add_compile_options(-fsanitize=${TARSIER_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TARSIER_SANITIZE})
endif()
