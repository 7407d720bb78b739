#include "worker/event_translate.h"

#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/link.h"
#include "base/strings.h"
#include "base/time.h"
#include "nlohmann/json.hpp"
#include "worker/event_tail.h"

namespace finetuned {
namespace {

using nlohmann::json;

constexpr size_t kMaxFailureBytes = 8 * 1024;
// 4,096 characters, the most that a prompt may have.
constexpr size_t kMaxPromptBytes = 16 * 1024;
constexpr size_t kMaxAnswerBytes = 16 * 1024;
constexpr char kTrainLoss[] = "train/loss";
constexpr char kEvalLoss[] = "eval/loss";

int64_t Int(const json& line, const char* key) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_number()) return 0;
  if (found->is_number_unsigned()) {
    const uint64_t value = found->get<uint64_t>();
    constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    return static_cast<int64_t>(std::min(value, kMax));
  }
  if (found->is_number_integer()) return std::max<int64_t>(0, found->get<int64_t>());
  const double value = found->get<double>();
  return value >= 0 && value < 9.0e18 ? static_cast<int64_t>(value) : 0;
}

std::string Text(const json& line, const char* key, size_t max_bytes) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_string()) return "";
  return CutUtf8(found->get_ref<const std::string&>(), max_bytes);
}

std::map<std::string, double> Metrics(const json& line) {
  std::map<std::string, double> metrics;
  const auto found = line.find("metrics");
  if (found == line.end() || !found->is_object()) return metrics;
  for (const auto& [name, value] : found->items()) {
    if (name.empty() || name.size() > kMaxSeriesNameBytes || !value.is_number()) continue;
    // The loss is always kept, whatever else there is.
    if (metrics.size() >= kMaxMetrics && name != kTrainLoss && name != kEvalLoss) continue;
    const double number = value.get<double>();
    if (std::isfinite(number)) metrics[name] = number;
  }
  return metrics;
}

absl::Time LineTime(const json& line, absl::Time now) {
  absl::Time time;
  std::string error;
  const std::string text = Text(line, "ts", 64);
  if (!text.empty() && absl::ParseTime(absl::RFC3339_full, text, &time, &error) &&
      time > absl::UnixEpoch()) {
    return time;
  }
  return now;
}

v1::RunEvent ProgressEvent(const json& line, int64_t now_us, AttemptFacts& facts) {
  v1::RunEvent event;
  event.set_type(v1::RunEvent::TRAIN_UPDATED);
  v1::Progress& progress = *event.mutable_progress();
  progress.set_epoch(Int(line, "epoch"));
  progress.set_epochs(Int(line, "epochs"));
  progress.set_batch(Int(line, "batch"));
  progress.set_batches(Int(line, "batches"));
  progress.set_tokens(Int(line, "tokens"));
  progress.set_max_tokens(Int(line, "max_tokens"));
  progress.set_step(Int(line, "step"));
  progress.set_total_steps(Int(line, "total_batches"));
  for (const auto& [name, value] : Metrics(line)) {
    if (name == kTrainLoss) {
      progress.set_train_loss(value);
    } else {
      (*progress.mutable_metrics())[name] = value;
    }
  }
  if (facts.train_start_us == 0) {
    // No line said when training began: count from here.
    facts.train_start_us = now_us;
    facts.train_start_step = progress.step();
    facts.train_start_tokens = progress.tokens();
  }
  facts.last_step = std::max(facts.last_step, progress.step());
  // Steps back, of a clock or of a trainer, count as none.
  *progress.mutable_trained_duration() = ToProtoDuration(
      absl::Microseconds(std::max<int64_t>(now_us - facts.train_start_us - facts.excluded_us, 0)));
  progress.set_trained_steps(std::max<int64_t>(progress.step() - facts.train_start_step, 0));
  progress.set_trained_tokens(std::max<int64_t>(progress.tokens() - facts.train_start_tokens, 0));
  return event;
}

v1::Evaluation::When WhenOf(const json& line) {
  const std::string when = Text(line, "when", 32);
  if (when == "before") return v1::Evaluation::BEFORE;
  if (when == "checkpoint") return v1::Evaluation::CHECKPOINT;
  if (when == "after") return v1::Evaluation::AFTER;
  return v1::Evaluation::WHEN_UNSPECIFIED;
}

v1::RunEvent EvaluationEvent(const json& line) {
  v1::RunEvent event;
  event.set_type(v1::RunEvent::EVALUATED);
  v1::Evaluation& evaluation = *event.mutable_evaluation();
  evaluation.set_when(WhenOf(line));
  evaluation.set_step(Int(line, "step"));
  for (const auto& [name, value] : Metrics(line)) {
    if (name == kEvalLoss) {
      evaluation.set_loss(value);
    } else {
      (*evaluation.mutable_metrics())[name] = value;
    }
  }
  return event;
}

v1::RunEvent AnswerEvent(const json& line) {
  v1::RunEvent event;
  event.set_type(v1::RunEvent::PROMPT_ANSWERED);
  event.mutable_prompt_answer()->set_when(WhenOf(line));
  event.mutable_prompt_answer()->set_step(Int(line, "step"));
  event.mutable_prompt_answer()->set_prompt(Text(line, "prompt", kMaxPromptBytes));
  event.mutable_prompt_answer()->set_response(Text(line, "response", kMaxAnswerBytes));
  return event;
}

v1::RunEvent Simple(v1::RunEvent::Type type) {
  v1::RunEvent event;
  event.set_type(type);
  return event;
}

v1::RunEvent DataEvent(const json& line) {
  v1::RunEvent event = Simple(v1::RunEvent::DATA_VALIDATED);
  event.mutable_data()->set_examples(Int(line, "examples"));
  event.mutable_data()->set_tokens(Int(line, "tokens"));
  event.mutable_data()->set_eval_examples(Int(line, "eval_examples"));
  return event;
}

// Length of the number at the front; 0 where there is none.
size_t NumberLength(std::string_view text) {
  const size_t sign = !text.empty() && text[0] == '-' ? 1 : 0;
  if (text.size() <= sign || !absl::ascii_isdigit(static_cast<unsigned char>(text[sign]))) return 0;
  return std::min(text.find_first_not_of("0123456789+-.eE", sign), text.size());
}

// Whether no double can hold it.
bool IsTooLarge(std::string_view number) {
  double value = 0;
  return absl::SimpleAtod(A(number), &value) && std::isinf(value);
}

// Nothing where no link can be shown.
std::optional<v1::RunEvent> LinkedEvent(const json& line) {
  v1::RunEvent event = Simple(v1::RunEvent::LINKED);
  auto& pages = *event.mutable_links()->mutable_pages();
  const auto found = line.find("links");
  if (found == line.end() || !found->is_object()) return std::nullopt;
  for (const auto& [name, page] : found->items()) {
    if (pages.size() >= kMaxLinks) break;
    if (page.is_string() && IsLink(name, page.get_ref<const std::string&>())) {
      pages[name] = page.get<std::string>();
    }
  }
  if (pages.empty()) return std::nullopt;
  return event;
}

json ParseLine(std::string_view clean) {
  return json::parse(clean, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

std::string WithoutNonFinite(std::string_view line) {
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < line.size();) {
    const char c = line[i];
    if (in_string) {
      out.push_back(c);
      if (c == '\\' && i + 1 < line.size()) out.push_back(line[++i]);
      if (c == '"') in_string = false;
      ++i;
      continue;
    }
    bool replaced = false;
    for (const std::string_view token : {"-Infinity", "Infinity", "NaN"}) {
      if (line.substr(i, token.size()) == token) {
        out += "null";
        i += token.size();
        replaced = true;
        break;
      }
    }
    if (replaced) continue;
    if (const size_t length = NumberLength(line.substr(i)); length > 0) {
      const std::string_view number = line.substr(i, length);
      out += IsTooLarge(number) ? "null" : number;
      i += length;
      continue;
    }
    in_string = c == '"';
    out.push_back(c);
    ++i;
  }
  return out;
}

v1::RunEvent OtherEvent(std::string_view text, absl::Time when) {
  v1::RunEvent event;
  event.set_type(v1::RunEvent::OTHER);
  *event.mutable_worker_time() = ToProtoTime(when);
  if (text.size() <= kMaxRawJsonBytes && json::accept(text.begin(), text.end())) {
    event.set_raw_json(std::string(text));
    return event;
  }
  // Escaping may make it longer; cut until it fits.
  std::string quoted;
  size_t length = std::min(text.size(), kMaxRawJsonBytes);
  do {
    quoted = json{{"unparsed", std::string(text.substr(0, length))}}.dump(
        -1, ' ', false, json::error_handler_t::replace);
    length /= 2;
  } while (quoted.size() > kMaxRawJsonBytes);
  event.set_raw_json(quoted);
  return event;
}

std::optional<MetricLine> MetricsOfLine(std::string_view line, absl::Time now) {
  const json document = ParseLine(WithoutNonFinite(line));
  if (!document.is_object()) return std::nullopt;
  const std::string type = Text(document, "type", 64);
  if (type != "progress" && type != "eval") return std::nullopt;
  const auto metrics = document.find("metrics");
  if (metrics == document.end() || !metrics->is_object()) return std::nullopt;
  MetricLine numbers;
  numbers.is_progress = type == "progress";
  numbers.row.step = Int(document, "step");
  numbers.row.time_millis = absl::ToUnixMillis(LineTime(document, now));
  for (const auto& [name, value] : metrics->items()) {
    if (!value.is_number() && !value.is_null()) continue;
    numbers.row.values.emplace_back(
        name, value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>());
  }
  if (numbers.row.values.empty()) return std::nullopt;
  return numbers;
}

Translated TranslateLine(std::string_view line, absl::Time now, AttemptFacts& facts) {
  Translated result;
  const absl::string_view stripped = absl::StripAsciiWhitespace(A(line));
  if (stripped.empty()) return result;
  const std::string clean = WithoutNonFinite(S(stripped));
  const json document = ParseLine(clean);
  if (!document.is_object()) {
    result.event = OtherEvent(line, now);
    return result;
  }
  const absl::Time when = LineTime(document, now);
  const int64_t when_us = absl::ToUnixMicros(when);
  const int64_t previous_us = facts.last_line_us;
  facts.last_line_us = std::max(previous_us, when_us);
  const std::string type = Text(document, "type", 64);
  if (type == "data_validated") {
    result.event = DataEvent(document);
  } else if (type == "model_initialized") {
    result.event = Simple(v1::RunEvent::MODEL_INITIALIZED);
    // The daemon writes the message around the model's name.
    result.event->set_message(Text(document, "model", 255));
    if (facts.train_start_us == 0) facts.train_start_us = when_us;
  } else if (type == "progress") {
    result.event = ProgressEvent(document, when_us, facts);
  } else if (type == "eval") {
    result.event = EvaluationEvent(document);
  } else if (type == "eval_prompt") {
    result.event = AnswerEvent(document);
  } else if (type == "checkpoint") {
    const auto complete = document.find("complete");
    if (complete != document.end() && complete->is_boolean() && !complete->get<bool>()) {
      return result;
    }
    if (facts.train_start_us != 0 && previous_us != 0 && when_us > previous_us) {
      facts.excluded_us += when_us - previous_us;
    }
    CheckpointLine checkpoint;
    checkpoint.name = Text(document, "path", 255);
    checkpoint.huggingface = Text(document, "huggingface", 255);
    checkpoint.step = Int(document, "step");
    checkpoint.tokens = Int(document, "tokens");
    checkpoint.metrics = Metrics(document);
    result.checkpoint = std::move(checkpoint);
  } else if (type == "train_finished") {
    result.event = Simple(v1::RunEvent::TRAIN_FINISHED);
    facts.train_finished = true;
  } else if (type == "resumed") {
    result.event = Simple(v1::RunEvent::RESUMED);
    result.event->set_message(Text(document, "checkpoint", 255));
    // Only the service's choice can be resumed from, so it is published and complete.
    facts.checkpoint_name = Text(document, "checkpoint", 255);
    facts.checkpoint_step = Int(document, "step");
    facts.last_step = std::max(facts.last_step, facts.checkpoint_step);
    facts.train_start_us = when_us;
    facts.train_start_step = facts.checkpoint_step;
    facts.train_start_tokens = Int(document, "tokens");
    facts.excluded_us = 0;
  } else if (type == "failed") {
    facts.failure_code = Text(document, "code", 63);
    facts.failure_message = Text(document, "message", kMaxFailureBytes);
    facts.failure_attribution = Text(document, "attribution", 32);
  } else if (type == "preempt_ack") {
    facts.preempt_acknowledged = true;
  } else if (type == "working") {
    // That it came is all it says: the trainer has not hung.
  } else if (auto linked = type == "linked" ? LinkedEvent(document) : std::nullopt) {
    result.event = std::move(linked);
  } else {
    result.event = OtherEvent(clean, when);
  }
  if (result.event.has_value()) *result.event->mutable_worker_time() = ToProtoTime(when);
  return result;
}

}  // namespace finetuned
