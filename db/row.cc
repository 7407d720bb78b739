#include "db/row.h"

#include <algorithm>

#include "absl/time/civil_time.h"

namespace finetuned {
namespace {

// Takes digits from the front of the text, so many, or fewer where the text is shorter.
int64_t TakeDigits(std::string_view& text, size_t count, bool* ok) {
  int64_t value = 0;
  size_t taken = 0;
  for (; taken < count && taken < text.size() && text[taken] >= '0' && text[taken] <= '9';
       ++taken) {
    value = 10 * value + (text[taken] - '0');
  }
  *ok = *ok && taken == count;
  text.remove_prefix(taken);
  return value;
}

void TakeSign(std::string_view& text, char sign, bool* ok) {
  *ok = *ok && !text.empty() && text[0] == sign;
  if (!text.empty()) text.remove_prefix(1);
}

}  // namespace

// Not absl::ParseTime, which reads a format each time: a page of events has hundreds of times.
absl::Time ParseTime(std::string_view text) {
  const std::string_view whole = text;
  bool ok = true;
  // Of four digits, and up to 294276 where somebody expects to be done in ten thousand years.
  const int64_t year = TakeDigits(text, std::clamp<size_t>(text.find('-'), 4, 6), &ok);
  TakeSign(text, '-', &ok);
  const int64_t month = TakeDigits(text, 2, &ok);
  TakeSign(text, '-', &ok);
  const int64_t day = TakeDigits(text, 2, &ok);
  TakeSign(text, ' ', &ok);
  const int64_t hour = TakeDigits(text, 2, &ok);
  TakeSign(text, ':', &ok);
  const int64_t minute = TakeDigits(text, 2, &ok);
  TakeSign(text, ':', &ok);
  const int64_t second = TakeDigits(text, 2, &ok);
  int64_t micros = 0;
  if (!text.empty() && text[0] == '.') {
    text.remove_prefix(1);
    for (int64_t unit = 100'000; !text.empty() && text[0] != '+'; unit /= 10) {
      micros += unit * TakeDigits(text, 1, &ok);
      if (!ok) break;
    }
  }
  const absl::CivilSecond civil(year, month, day, hour, minute, second);
  // The thirtieth of February is normalized, not refused.
  ok = ok && civil.month() == month && civil.day() == day && civil.hour() == hour &&
       civil.minute() == minute && civil.second() == second;
  if (!ok || text != "+00") {
    throw pqxx::conversion_error("not a time: " + std::string(whole));
  }
  return absl::FromCivil(civil, absl::UTCTimeZone()) + absl::Microseconds(micros);
}

pqxx::row::size_type Rows::NumberOf(const char* name) const {
  for (size_t i = 0; i < known_.size(); ++i) {
    if (next_ == known_.size()) next_ = 0;
    const auto& [known, number] = known_[next_++];
    if (known == name) return number;
  }
  known_.emplace_back(name, result_.column_number(name));
  next_ = known_.size();
  return known_.back().second;
}

}  // namespace finetuned
