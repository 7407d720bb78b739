#include "daemon/id_page.h"

#include "absl/strings/str_cat.h"
#include "daemon/checker.h"
#include "daemon/page_token.h"
#include "daemon/resource_name.h"

namespace finetuned {

absl::StatusOr<IdPage> ReadIdPage(
    const ServiceCore& core, const Identity& caller, const std::string& collection,
    const std::string& parent, int32_t page_size, const std::string& page_token,
    absl::FunctionRef<absl::StatusOr<std::vector<int64_t>>(int64_t before, int count)> list) {
  Checker check;
  const absl::Status allowed = CheckParent(parent, caller);
  const auto size = PageSize(page_size);
  check.AddAll(allowed);
  check.AddAll(size.status());
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  FT_RETURN_IF_ERROR(allowed);
  const std::string scope =
      absl::StrCat(collection, "/", caller.workspace_id, "/", caller.owner_id);
  int64_t before = 0;
  if (!page_token.empty()) {
    FT_ASSIGN_OR_RETURN(const std::vector<int64_t> at,
                        ReadPageToken(core.page_token_key, scope, page_token, 1));
    before = at[0];
  }
  IdPage page;
  FT_ASSIGN_OR_RETURN(page.ids, list(before, *size + 1));
  if (static_cast<int>(page.ids.size()) > *size) {
    page.ids.resize(*size);
    page.next_page_token = MakePageToken(core.page_token_key, scope, {page.ids.back()});
  }
  return page;
}

}  // namespace finetuned
