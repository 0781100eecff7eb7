// The host's calls on files that are written, each with its loop and its error.
//
// Nothing here owns a descriptor. Every status names the path and, where there
// is one, the cure.
#ifndef SLUICE_STORAGE_FILE_CALLS_H_
#define SLUICE_STORAGE_FILE_CALLS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

// What `errno` says about an attempt to `what` ("write", "sync") `path`.
absl::Status FileError(absl::string_view what, const std::string& path);

// The folder that `path` lies in, without a slash at its end; "." for a bare name.
std::string FolderOf(const std::string& path);

// All of `bytes` from `offset` on, whatever the host writes at once.
absl::Status WriteFully(int fd, uint64_t offset, absl::string_view bytes, const std::string& path);
// As many bytes as there are, up to `bytes`; returns how many.
absl::StatusOr<uint64_t> ReadFully(int fd, uint64_t offset, char* out, uint64_t bytes, const std::string& path);

// Makes what was created, renamed and removed in `folder` last. Some file systems
// cannot sync folders; those are left to their own order.
absl::Status SyncFolder(const std::string& folder);

// What the file system has left for this user.
absl::StatusOr<uint64_t> FreeBytes(int fd, const std::string& path);

// Defined once per host: file_calls_linux.cc or file_calls_posix.cc.

// The file's bytes, and what is needed to find them, are on the medium.
absl::Status SyncData(int fd, const std::string& path);
// Makes the file, now `size_bytes` long, `bytes` long and its space its own where
// the file system can do that; content is kept.
absl::Status ReserveSpace(int fd, uint64_t size_bytes, uint64_t bytes, const std::string& path);
// Locks the whole file for this descriptor and its copies, false when another has
// it.
absl::StatusOr<bool> TryLock(int fd, const std::string& path);
// Whether another descriptor holds that lock; asking is in nobody's way.
absl::StatusOr<bool> IsLockedByOther(int fd, const std::string& path);
// Asks for reads and writes past the page cache, or through it again. False where
// the host or the file system cannot.
bool BypassCache(int fd, bool bypass);
// For writes through the cache: starts writing a range out, and lets go of all
// that has been. Hints.
void StartWriteOut(int fd, uint64_t offset, uint64_t bytes);
void ForgetCached(int fd);

}  // namespace sluice

#endif  // SLUICE_STORAGE_FILE_CALLS_H_
