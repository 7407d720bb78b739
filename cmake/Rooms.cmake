# Functions for the CMakeLists.txt of the rooms.

include(GoogleTest)

# finetuned_room(NAME SOURCES ... [LIBS ...] [PRIVATE_LIBS ...])
# A room's library, finetuned_NAME. It links only what it may include.
function(finetuned_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(finetuned_${name} STATIC ${ARG_SOURCES})
  target_include_directories(finetuned_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_options(finetuned_${name} PRIVATE ${FINETUNED_WARNINGS})
  target_link_libraries(finetuned_${name} PUBLIC ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
endfunction()

# finetuned_program(NAME SOURCES ... LIBS ...)
function(finetuned_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${FINETUNED_WARNINGS})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
endfunction()

# finetuned_test(NAME SOURCES ... LIBS ... [TIMEOUT SECONDS] [POSTGRES])
# One test program. POSTGRES: it starts a Postgres of its own and does not run beside another such test.
function(finetuned_test name)
  cmake_parse_arguments(ARG "POSTGRES" "TIMEOUT" "SOURCES;LIBS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${FINETUNED_WARNINGS})
  target_compile_definitions(${name} PRIVATE
    FINETUNED_SOURCE_DIR="${CMAKE_SOURCE_DIR}" FINETUNED_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
  if(ARG_POSTGRES)
    set_tests_properties(${name} PROPERTIES RESOURCE_LOCK postgres)
  endif()
endfunction()
