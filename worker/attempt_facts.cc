#include "worker/attempt_facts.h"

#include "nlohmann/json.hpp"

namespace finetuned {
namespace {

using nlohmann::json;

// One list of the fields for both directions.
template <typename Facts, typename Visitor>
void VisitFields(Facts& facts, Visitor visit) {
  visit("started", facts.started);
  visit("train_finished", facts.train_finished);
  visit("preempt_acknowledged", facts.preempt_acknowledged);
  visit("last_step", facts.last_step);
  visit("checkpoint_name", facts.checkpoint_name);
  visit("checkpoint_step", facts.checkpoint_step);
  visit("checkpoint_report", facts.checkpoint_report);
  visit("publish_error", facts.publish_error);
  visit("failure_code", facts.failure_code);
  visit("failure_message", facts.failure_message);
  visit("failure_attribution", facts.failure_attribution);
  visit("metric_lines_bytes", facts.metric_lines_bytes);
  visit("metric_file_bytes", facts.metric_file_bytes);
  visit("train_start_us", facts.train_start_us);
  visit("train_start_step", facts.train_start_step);
  visit("train_start_tokens", facts.train_start_tokens);
  visit("excluded_us", facts.excluded_us);
  visit("last_line_us", facts.last_line_us);
}

struct Reader {
  const json& document;
  void operator()(const char* name, bool& value) const {
    const auto found = document.find(name);
    if (found != document.end() && found->is_boolean()) value = found->get<bool>();
  }
  void operator()(const char* name, int64_t& value) const {
    const auto found = document.find(name);
    if (found != document.end() && found->is_number_integer()) value = found->get<int64_t>();
  }
  void operator()(const char* name, std::string& value) const {
    const auto found = document.find(name);
    if (found != document.end() && found->is_string()) value = found->get<std::string>();
  }
};

}  // namespace

std::string FactsToJson(const AttemptFacts& facts) {
  json document = json::object();
  VisitFields(facts, [&](const char* name, const auto& value) { document[name] = value; });
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

AttemptFacts FactsFromJson(std::string_view text) {
  AttemptFacts facts;
  const json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (document.is_object()) VisitFields(facts, Reader{document});
  return facts;
}

}  // namespace finetuned
