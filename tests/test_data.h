// Where reference data lies, and how a test says that it is absent.
#ifndef SLUICE_TESTS_TEST_DATA_H_
#define SLUICE_TESTS_TEST_DATA_H_

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sluice {

inline std::string SharedPath(const std::string& relative) { return std::string(SLUICE_SHARED_DIR) + "/" + relative; }

inline std::string ReadFileToString(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

}  // namespace sluice

// Ends the test case with a SKIP line when reference data is not there.
#define SKIP_WITHOUT_SHARED(relative)                                                          \
  do {                                                                                         \
    if (!std::filesystem::exists(::sluice::SharedPath(relative))) {                            \
      MESSAGE("SKIP: reference data " << ::sluice::SharedPath(relative) << " is not present"); \
      return;                                                                                  \
    }                                                                                          \
  } while (false)

#endif  // SLUICE_TESTS_TEST_DATA_H_
