// Reads what users write: sizes, token ids, text files.
#ifndef SLUICE_SRC_CLI_INPUTS_H_
#define SLUICE_SRC_CLI_INPUTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

// "512M", "16G", "16GiB" or a number of bytes; G and GiB are both 2^30.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);

// Seconds from now: "8h", "90m", "45s", or "07:30", the next time a clock here
// shows it, given what it shows now.
absl::StatusOr<double> ParseDeadline(absl::string_view text, int now_hour, int now_minute, int now_second);

// "1,2,3".
absl::StatusOr<std::vector<int32_t>> ParseTokenList(absl::string_view text);

// The whole file; "-" is standard input.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

// A file with a JSON list of token id lists, none of them empty.
absl::StatusOr<std::vector<std::vector<int32_t>>> ReadTokenLists(const std::string& path);

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_INPUTS_H_
