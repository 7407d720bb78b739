#pragma once

#include <vector>

#include "tests/faults/explorer.h"

namespace finetuned {

// The pairs of transactions that meet on one run or one owner, with what must come of each.
std::vector<Race> AllRaces();

// Three at once: many more orders.
std::vector<Race> TripleRaces();

}  // namespace finetuned
