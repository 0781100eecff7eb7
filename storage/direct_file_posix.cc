// Reads on hosts without O_DIRECT. macOS keeps new pages of a file out of the
// cache on request; elsewhere reads go through the cache.
#include <fcntl.h>

#include "base/status.h"
#include "storage/direct_file.h"

namespace sluice {

absl::StatusOr<DirectFile> DirectFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(DirectFile file, OpenBuffered(path));
#ifdef F_NOCACHE
  file.direct_ = fcntl(file.fd(), F_NOCACHE, 1) == 0;
#endif
  return file;
}

}  // namespace sluice
