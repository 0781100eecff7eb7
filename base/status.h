// Propagation macros for absl::Status and absl::StatusOr.
//
// Debian 12's Abseil has the types but no public macros. Use them only for the
// world's errors: what happened, where, the limit and the cure, in one
// lower-case line. InvalidArgument ends the program with 2, all else with 1.
#ifndef SLUICE_BASE_STATUS_H_
#define SLUICE_BASE_STATUS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)             \
  do {                                          \
    absl::Status sluice_status_ = (expression); \
    if (!sluice_status_.ok()) [[unlikely]]      \
      return sluice_status_;                    \
  } while (false)

#define SLUICE_STATUS_CONCAT_INNER_(a, b) a##b
#define SLUICE_STATUS_CONCAT_(a, b) SLUICE_STATUS_CONCAT_INNER_(a, b)

#define ASSIGN_OR_RETURN(declaration, expression) \
  SLUICE_ASSIGN_OR_RETURN_(SLUICE_STATUS_CONCAT_(sluice_status_or_, __LINE__), declaration, expression)

#define SLUICE_ASSIGN_OR_RETURN_(temporary, declaration, expression) \
  auto temporary = (expression);                                     \
  if (!temporary.ok()) [[unlikely]]                                  \
    return temporary.status();                                       \
  declaration = *std::move(temporary)

#endif  // SLUICE_BASE_STATUS_H_
