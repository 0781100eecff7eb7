#include "src/engine/session.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "storage/file_writer.h"

namespace sluice {
namespace {

constexpr char kMagic[8] = {'s', 'l', 'u', 'i', 'c', 'e', 'K', 'V'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kPageBytes = 4096;
// Beyond any model's. A file of so many takes less than 2^59 bytes, its head 132 MiB.
constexpr uint64_t kMostLayers = 1 << 12, kMostWidth = 1 << 20, kMostTokens = 1 << 24;

struct FixedPart {
  char magic[8];
  uint32_t version;
  uint32_t numerics;
  uint64_t model;
  uint32_t kv_type;
  uint32_t layers;
  uint64_t width;
  uint64_t tokens;
  uint32_t block_tokens;
  uint32_t reserved;
  char kernels[32];   // padded with zeros
  uint64_t checksum;  // XXH3-64 of what is before, the tokens and the blocks' checksums
};
static_assert(sizeof(FixedPart) == 96 && std::is_trivially_copyable_v<FixedPart>);
constexpr uint64_t kCheckedBytes = sizeof(FixedPart) - sizeof(uint64_t);

struct StoredToken {
  int32_t id;
  uint32_t generated;
};

// Where things lie in a file.
struct Places {
  Places(KvType type, uint64_t width, uint64_t layers, uint64_t tokens)
      : blocks(CeilDiv(tokens, uint64_t{kKvBlockTokens})),
        block_bytes(KvRows::RowBytes(type, static_cast<int64_t>(width)) * kKvBlockTokens),
        place_bytes(AlignUp(block_bytes, kPageBytes)),
        checksums(sizeof(FixedPart) + tokens * sizeof(StoredToken)),
        head_bytes(checksums + blocks * sizeof(uint64_t)),
        data(AlignUp(head_bytes, kPageBytes)),
        file_bytes(data + layers * blocks * place_bytes) {}
  Places(const SessionIdentity& identity, uint64_t tokens)
      : Places(identity.kv_type, static_cast<uint64_t>(identity.width), static_cast<uint64_t>(identity.layers),
               tokens) {}
  explicit Places(const FixedPart& fixed)
      : Places(static_cast<KvType>(fixed.kv_type), fixed.width, fixed.layers, fixed.tokens) {}

  uint64_t BlockAt(int layer, int64_t block) const {
    return data + (static_cast<uint64_t>(layer) * blocks + static_cast<uint64_t>(block)) * place_bytes;
  }

  uint64_t blocks, block_bytes, place_bytes, checksums, head_bytes, data, file_bytes;
};

uint64_t HeadChecksum(const char* head, uint64_t head_bytes) {
  const uint64_t seed = XXH3_64bits(head, kCheckedBytes);
  return XXH3_64bits_withSeed(head + sizeof(FixedPart), head_bytes - sizeof(FixedPart), seed);
}

// Numbers that Places can be made of.
bool Plausible(const FixedPart& fixed) {
  return fixed.kv_type <= static_cast<uint32_t>(KvType::kQ8_0) && fixed.layers >= 1 && fixed.layers <= kMostLayers &&
         fixed.width >= 1 && fixed.width <= kMostWidth && fixed.tokens <= kMostTokens &&
         fixed.block_tokens == kKvBlockTokens;
}

absl::string_view NameOf(KvType type) {
  constexpr absl::string_view kNames[] = {"f32", "f16", "q8_0"};
  return kNames[static_cast<int>(type)];
}

absl::string_view KernelsOf(const FixedPart& fixed) {
  return {fixed.kernels, static_cast<size_t>(std::find(fixed.kernels, std::end(fixed.kernels), '\0') - fixed.kernels)};
}

FixedPart MakeFixedPart(const SessionIdentity& identity, uint64_t tokens) {
  FixedPart fixed = {};
  std::memcpy(fixed.magic, kMagic, sizeof(kMagic));
  fixed.version = kVersion;
  fixed.numerics = kNumericsVersion;
  fixed.model = identity.model;
  fixed.kv_type = static_cast<uint32_t>(identity.kv_type);
  fixed.layers = static_cast<uint32_t>(identity.layers);
  fixed.width = static_cast<uint64_t>(identity.width);
  fixed.tokens = tokens;
  fixed.block_tokens = kKvBlockTokens;
  SLUICE_CHECK(identity.kernels.size() <= sizeof(fixed.kernels));
  std::copy(identity.kernels.begin(), identity.kernels.end(), fixed.kernels);
  return fixed;
}

// Everything before the blocks, padding included.
std::string MakeHead(const FixedPart& fixed, const Places& places, absl::Span<const Session::Token> tokens,
                     absl::Span<const uint64_t> checksums) {
  std::string head(places.data, '\0');
  std::memcpy(head.data(), &fixed, sizeof(fixed));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const StoredToken stored = {tokens[i].id, tokens[i].generated};
    std::memcpy(head.data() + sizeof(fixed) + i * sizeof(stored), &stored, sizeof(stored));
  }
  std::memcpy(head.data() + places.checksums, checksums.data(), checksums.size() * sizeof(uint64_t));
  const uint64_t checksum = HeadChecksum(head.data(), places.head_bytes);
  std::memcpy(head.data() + kCheckedBytes, &checksum, sizeof(checksum));
  return head;
}

}  // namespace

absl::StatusOr<SessionIdentity> IdentityOf(uint64_t model_fingerprint, const EngineOptions& options,
                                           const ModelConfig& config) {
  ASSIGN_OR_RETURN(const KernelSet* kernels, KernelsFor(options));
  return SessionIdentity{model_fingerprint, std::string(kernels->name), KvTypeFor(options), config.layers,
                         config.kv_width()};
}

absl::StatusOr<Session> Session::Open(const std::string& path, const SessionIdentity& identity) {
  Session session(path, identity);
  absl::StatusOr<std::unique_ptr<FileByteSource>> file = FileByteSource::Open(path);
  if (file.ok()) {
    session.file_ = *std::move(file);
    RETURN_IF_ERROR(session.Read());
  } else if (!absl::IsNotFound(file.status())) {
    return file.status();
  }
  RETURN_IF_ERROR(FileWriter::Create(path).status());
  return session;
}

absl::Status Session::Read() {
  FixedPart fixed;
  if (file_->size_bytes() < sizeof(fixed)) return Damaged("it is too short");
  RETURN_IF_ERROR(file_->Read(0, sizeof(fixed), &fixed));
  if (std::memcmp(fixed.magic, kMagic, sizeof(kMagic)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("--session: ", path_, " is no session; give the name of one, or of a file that is not there yet"));
  }
  if (fixed.version != kVersion) return Refused(absl::StrCat("is of version ", fixed.version, ", not ", kVersion));
  if (!Plausible(fixed)) return Damaged("its header makes no sense");
  if (file_->size_bytes() != Places(fixed).file_bytes) return Damaged("it has another length than its header says");
  // Before its head, which is as long as it says, is read.
  if (fixed.numerics != kNumericsVersion) return Refused("was made by a version of sluice with other arithmetic");
  RETURN_IF_ERROR(CheckIdentity({fixed.model, std::string(KernelsOf(fixed)), static_cast<KvType>(fixed.kv_type),
                                 static_cast<int>(fixed.layers), static_cast<int64_t>(fixed.width)}));
  return ReadHead(fixed.tokens);
}

absl::Status Session::ReadHead(uint64_t tokens) {
  const Places places(identity_, tokens);
  std::string head(places.head_bytes, '\0');
  RETURN_IF_ERROR(file_->Read(0, head.size(), head.data()));
  uint64_t checksum = 0;
  std::memcpy(&checksum, head.data() + kCheckedBytes, sizeof(checksum));
  if (HeadChecksum(head.data(), head.size()) != checksum) return Damaged("its header does not check");
  tokens_.resize(tokens);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    StoredToken stored;
    std::memcpy(&stored, head.data() + sizeof(FixedPart) + i * sizeof(stored), sizeof(stored));
    tokens_[i] = {stored.id, stored.generated != 0};
  }
  checksums_.resize(places.blocks);
  std::memcpy(checksums_.data(), head.data() + places.checksums, places.blocks * sizeof(uint64_t));
  return absl::OkStatus();
}

absl::Status Session::CheckIdentity(const SessionIdentity& found) const {
  if (found.model != identity_.model || found.layers != identity_.layers || found.width != identity_.width) {
    return Refused("was made with another model");
  }
  if (found.kernels != identity_.kernels) {
    return Refused(absl::StrCat("was made with the kernels ", found.kernels, ", not ", identity_.kernels));
  }
  if (found.kv_type != identity_.kv_type) {
    return Refused(absl::StrCat("was made with --kv ", NameOf(found.kv_type), ", not ", NameOf(identity_.kv_type)));
  }
  return absl::OkStatus();
}

absl::Status Session::Refused(absl::string_view what) const {
  return absl::FailedPreconditionError(
      absl::StrCat("--session: ", path_, " ", what, "; run as it was made, or give another file to begin anew"));
}

absl::Status Session::Damaged(absl::string_view what) const {
  return absl::DataLossError(absl::StrCat("--session: ", path_, " is damaged: ", what, "; remove it to begin anew"));
}

uint64_t Session::memory_bytes() const {
  return tokens_.capacity() * sizeof(Token) + checksums_.capacity() * sizeof(uint64_t);
}

int64_t Session::CommonPrefix(absl::Span<const int32_t> prompt) const {
  const size_t most = std::min(tokens_.size(), std::max<size_t>(prompt.size(), 1) - 1);
  size_t common = 0;
  while (common < most && !tokens_[common].generated && tokens_[common].id == prompt[common]) ++common;
  return static_cast<int64_t>(common);
}

absl::Status Session::Restore(int64_t positions, KvCache* cache) const {
  SLUICE_CHECK(positions <= static_cast<int64_t>(tokens_.size()));
  const Places places(identity_, tokens_.size());
  std::vector<uint64_t> found(static_cast<size_t>(KvCache::BlocksFor(positions)));
  for (int layer = 0; layer < identity_.layers; ++layer) {
    for (size_t block = 0; block < found.size(); ++block) {
      const absl::Span<uint8_t> memory = cache->Block(layer, 0, static_cast<int64_t>(block));
      SLUICE_CHECK(memory.size() == places.block_bytes);
      RETURN_IF_ERROR(file_->Read(places.BlockAt(layer, static_cast<int64_t>(block)), memory.size(), memory.data()));
      found[block] = KvSpill::ChainedChecksum(found[block], memory);
    }
  }
  for (size_t block = 0; block < found.size(); ++block) {
    if (found[block] == checksums_[block]) continue;
    const int64_t begin = static_cast<int64_t>(block) * kKvBlockTokens;
    return Damaged(absl::StrCat("keys and values from token ", begin, " on do not check"));
  }
  return absl::OkStatus();
}

absl::Status Session::Save(absl::Span<const Token> tokens, KvCache* cache) const {
  if (tokens.size() > kMostTokens) {
    return absl::OutOfRangeError(absl::StrCat("--session: a file holds ", kMostTokens, " tokens and these are ",
                                              tokens.size(), "; go on without one"));
  }
  const FixedPart fixed = MakeFixedPart(identity_, tokens.size());
  const Places places(fixed);
  std::vector<uint64_t> checksums(places.blocks);
  for (int layer = 0; layer < identity_.layers; ++layer) {
    for (size_t block = 0; block < checksums.size(); ++block) {
      const absl::Span<const uint8_t> memory = cache->Block(layer, 0, static_cast<int64_t>(block));
      checksums[block] = KvSpill::ChainedChecksum(checksums[block], memory);
    }
  }
  ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(path_));
  RETURN_IF_ERROR(writer.Append(MakeHead(fixed, places, tokens, checksums)));
  const std::string padding(places.place_bytes - places.block_bytes, '\0');
  for (int layer = 0; layer < identity_.layers; ++layer) {
    for (size_t block = 0; block < checksums.size(); ++block) {
      const absl::Span<const uint8_t> memory = cache->Block(layer, 0, static_cast<int64_t>(block));
      RETURN_IF_ERROR(writer.Append({reinterpret_cast<const char*>(memory.data()), memory.size()}));
      RETURN_IF_ERROR(writer.Append(padding));
    }
  }
  return writer.Commit();
}

}  // namespace sluice
