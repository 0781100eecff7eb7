// What is said when a mapped model file cannot be read: the kernel tells of it
// with SIGBUS, in the middle of a product.
#ifndef SLUICE_SRC_CLI_MAPPED_FAULT_H_
#define SLUICE_SRC_CLI_MAPPED_FAULT_H_

#include "absl/strings/string_view.h"

namespace sluice {

// From here on such a fault ends the process with one line that names `model`
// and exit status 1.
void ExplainMappedFaults(absl::string_view model);

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_MAPPED_FAULT_H_
