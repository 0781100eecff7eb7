#include "src/model/model_family.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "src/model/deepseek2.h"

namespace sluice {
namespace {

constexpr ModelFamily kFamilies[] = {
    {"deepseek2", ReadDeepseek2Config, AddDeepseek2Layer},
};

}  // namespace

const ModelFamily* FindModelFamily(absl::string_view arch) {
  for (const ModelFamily& family : kFamilies) {
    if (family.arch == arch) return &family;
  }
  return nullptr;
}

std::string SupportedArchitectures() {
  return absl::StrJoin(kFamilies, ", ",
                       [](std::string* out, const ModelFamily& family) { absl::StrAppend(out, family.arch); });
}

absl::StatusOr<const ModelFamily*> FamilyOf(const ModelFiles& files) {
  ASSIGN_OR_RETURN(const std::string arch, files.metadata().GetString("general.architecture"));
  const ModelFamily* family = FindModelFamily(arch);
  if (family == nullptr) {
    return absl::UnimplementedError(absl::StrCat("the architecture \"", arch, "\" of ", files.paths()[0],
                                                 " is not supported; supported: ", SupportedArchitectures()));
  }
  return family;
}

}  // namespace sluice
