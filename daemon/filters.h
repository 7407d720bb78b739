#pragma once

#include <string>
#include <vector>

#include "daemon/checker.h"
#include "db/identity.h"
#include "finetuned/v1/event.pb.h"
#include "queue/event.h"

// Filters that several calls have in common.

namespace finetuned {

// `user_emails`: at most 100 addresses, each of which can be one.
void CheckEmails(const google::protobuf::RepeatedPtrField<std::string>& emails, Checker* check);

// `types`: at most one of each.
std::vector<EventType> ReadEventTypes(const google::protobuf::RepeatedField<int>& types,
                                      Checker* check);

// `experiment`: its uid or path; empty for all, and for one of another workspace what is none.
std::string ReadExperiment(const std::string& experiment, const Identity& caller, Checker* check);

}  // namespace finetuned
