#include "cli/print_json.h"

#include <ostream>

#include "cli/output.h"
#include "cli/sanitize.h"

namespace finetuned::cli {

bool PrintJson(Session& session, const nlohmann::ordered_json& json) {
  // A byte that is not UTF-8 is replaced, never thrown about.
  const auto text = [&json](int indent) {
    return SanitizeJson(
        json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  };
  switch (session.format()) {
    case OutputFormat::kJson: session.io().out << text(1) << "\n"; return true;
    case OutputFormat::kJsonl: session.io().out << text(-1) << "\n"; return true;
    case OutputFormat::kYaml: session.io().out << JsonToYaml(text(-1)); return true;
    default: return false;
  }
}

}  // namespace finetuned::cli
