#pragma once

#include <string>
#include <vector>

#include "daemon/checker.h"
#include "finetuned/v1/event.pb.h"
#include "queue/event.h"

// Filters that several calls have in common.

namespace finetuned {

// `user_emails`: at most 100 addresses, each of which can be one.
void CheckEmails(const google::protobuf::RepeatedPtrField<std::string>& emails, Checker* check);

// `types`: at most one of each.
std::vector<EventType> ReadEventTypes(const google::protobuf::RepeatedField<int>& types,
                                      Checker* check);

}  // namespace finetuned
