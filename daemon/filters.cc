#include "daemon/filters.h"

#include "absl/strings/str_cat.h"
#include "daemon/resource_name.h"
#include "daemon/text.h"

namespace finetuned {
namespace {

constexpr int kMaxEmails = 100;
// Of RFC 5321: 64 before the @, 255 behind it.
constexpr size_t kMaxEmail = 320;

}  // namespace

void CheckEmails(const google::protobuf::RepeatedPtrField<std::string>& emails, Checker* check) {
  if (emails.size() > kMaxEmails) {
    return check->Add("user_emails", "has more than 100 addresses", "TOO_MANY");
  }
  for (int i = 0; i < emails.size(); ++i) {
    const std::string& email = emails[i];
    check->Require(!email.empty() && email.size() <= kMaxEmail && !HasControl(email),
                   absl::StrCat("user_emails[", i, "]"), "can be no e-mail address", "BAD_EMAIL");
  }
}

std::string ReadExperiment(const std::string& experiment, const Identity& caller, Checker* check) {
  if (experiment.empty()) return "";
  const auto parsed = ParseExperimentName("experiment", experiment, caller);
  check->AddAll(parsed.status());
  return parsed.ok() ? *parsed : "-";
}

std::vector<EventType> ReadEventTypes(const google::protobuf::RepeatedField<int>& types,
                                      Checker* check) {
  std::vector<EventType> read;
  if (types.size() > static_cast<int>(kAllEventTypes.size())) {
    check->Add("types", "has more values than there are types", "TOO_MANY");
    return read;
  }
  for (const int type : types) {
    if (!v1::RunEvent::Type_IsValid(type) || type == v1::RunEvent::TYPE_UNSPECIFIED) {
      check->Add("types", "has a value that is no type of events", "BAD_EVENT_TYPE");
      return read;
    }
    read.push_back(static_cast<EventType>(type));
  }
  return read;
}

}  // namespace finetuned
