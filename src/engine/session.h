// A conversation that a later run goes on with: its tokens, and their keys and
// values.
//
// The file holds what sequence 0 of an engine held at the end of a run. A prompt
// that begins with the same tokens need not compute their keys and values again.
// Tokens that were generated were computed in another form than given ones
// (src/model/mla_heads.h), so the two never stand for one another: with a session
// and without one a prompt has the same answer, bit for bit.
//
//   96 bytes    fixed part: magic, versions, what the bits depend on, counts, checksum
//   8 a token   id (int32), 1 if generated (uint32)
//   8 a block   XXH3-64 of its bytes, each layer's seeded with that of the layers before
//   padding to 4096
//   [layer][block of kKvBlockTokens positions], each padded to 4096
#ifndef SLUICE_SRC_ENGINE_SESSION_H_
#define SLUICE_SRC_ENGINE_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "src/engine/engine.h"
#include "src/model/kv_cache.h"
#include "src/model/model_config.h"
#include "storage/byte_source.h"

namespace sluice {

// What the bits of keys and values depend on, the numerics version apart.
struct SessionIdentity {
  uint64_t model = 0;  // src/engine/model_fingerprint.h
  std::string kernels;
  KvType kv_type = KvType::kF16;
  int layers = 0;
  int64_t width = 0;
};
// Of an engine with these options.
absl::StatusOr<SessionIdentity> IdentityOf(uint64_t model_fingerprint, const EngineOptions& options,
                                           const ModelConfig& config);

class Session {
 public:
  struct Token {
    int32_t id = 0;
    bool generated = false;
  };

  // Reads what `path` holds, if it is there; refuses what was made under another
  // identity, and what is damaged. Finds out whether it can be written, too.
  static absl::StatusOr<Session> Open(const std::string& path, const SessionIdentity& identity);

  // As found.
  absl::Span<const Token> tokens() const { return tokens_; }
  uint64_t memory_bytes() const;

  // How much of `prompt` the file holds, the last token apart: its logits are wanted.
  int64_t CommonPrefix(absl::Span<const int32_t> prompt) const;
  // Gives sequence 0 its first `positions`, of those that the file holds.
  absl::Status Restore(int64_t positions, KvCache* cache) const;

  // Replaces the file by `tokens`, whose keys and values sequence 0 holds: whole,
  // or not at all.
  absl::Status Save(absl::Span<const Token> tokens, KvCache* cache) const;

 private:
  Session(std::string path, SessionIdentity identity) : path_(std::move(path)), identity_(std::move(identity)) {}
  absl::Status Read();
  absl::Status ReadHead(uint64_t tokens);
  absl::Status CheckIdentity(const SessionIdentity& found) const;
  absl::Status Refused(absl::string_view what) const;
  absl::Status Damaged(absl::string_view what) const;

  std::string path_;
  SessionIdentity identity_;
  std::unique_ptr<FileByteSource> file_;  // null when there was none
  std::vector<Token> tokens_;
  std::vector<uint64_t> checksums_;  // by block
};

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_SESSION_H_
