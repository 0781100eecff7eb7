// Builds GGUF files in memory, sound or broken on purpose.
#ifndef SLUICE_TESTS_STORAGE_GGUF_BUILDER_H_
#define SLUICE_TESTS_STORAGE_GGUF_BUILDER_H_

#include <cstdint>
#include <fstream>
#include <string>
#include <type_traits>
#include <vector>

#include "storage/gguf.h"

namespace sluice {

// A number as it lies in a file.
template <typename T>
std::string Packed(T number) {
  static_assert(std::is_arithmetic_v<T>);
  return std::string(reinterpret_cast<const char*>(&number), sizeof(number));
}

inline std::string PackedString(const std::string& text) { return Packed<uint64_t>(text.size()) + text; }

// The value of an array key: element type, count, then the packed items.
inline std::string PackedArray(GgufValueType element_type, uint64_t count, const std::string& items) {
  return Packed(static_cast<uint32_t>(element_type)) + Packed(count) + items;
}

class GgufBuilder {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;    // of the layout; add the key with Key()
  int64_t extra_tensors = 0;  // what the counts in the header are off by
  int64_t extra_keys = 0;

  GgufBuilder& Key(const std::string& key, GgufValueType type, const std::string& value) {
    keys_ += PackedString(key) + Packed(static_cast<uint32_t>(type)) + value;
    ++key_count_;
    return *this;
  }
  GgufBuilder& U16(const std::string& key, uint16_t value) { return Key(key, GgufValueType::kU16, Packed(value)); }
  GgufBuilder& U32(const std::string& key, uint32_t value) { return Key(key, GgufValueType::kU32, Packed(value)); }
  GgufBuilder& I32(const std::string& key, int32_t value) { return Key(key, GgufValueType::kI32, Packed(value)); }
  GgufBuilder& U64(const std::string& key, uint64_t value) { return Key(key, GgufValueType::kU64, Packed(value)); }
  GgufBuilder& Text(const std::string& key, const std::string& value) {
    return Key(key, GgufValueType::kString, PackedString(value));
  }

  // The keys of one file of a split set; `number` from 0.
  GgufBuilder& Split(uint16_t number, uint16_t count, int32_t total_tensors) {
    return U16("split.no", number).U16("split.count", count).I32("split.tensors.count", total_tensors);
  }

  // A tensor with its info only; whoever calls says where it lies.
  GgufBuilder& Info(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    infos_ += PackedString(name) + Packed(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) infos_ += Packed(dim);
    infos_ += Packed(type) + Packed(offset);
    ++tensor_count_;
    return *this;
  }
  // A tensor with `bytes` of data behind those before.
  GgufBuilder& Tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t bytes) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    Info(name, dims, type, data_.size());
    data_.resize(data_.size() + bytes, '\x5a');
    return *this;
  }

  std::string Header() const {
    return "GGUF" + Packed(version) + Packed(tensor_count_ + static_cast<uint64_t>(extra_tensors)) +
           Packed(key_count_ + static_cast<uint64_t>(extra_keys)) + keys_ + infos_;
  }
  std::string Build() const {
    std::string file = Header();
    if (!data_.empty()) file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }
  void Write(const std::string& path) const {
    std::ofstream out(path, std::ios::binary);
    const std::string bytes = Build();
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  uint64_t key_count_ = 0;
  uint64_t tensor_count_ = 0;
  std::string keys_;
  std::string infos_;
  std::string data_;
};

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_GGUF_BUILDER_H_
