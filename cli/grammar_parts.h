#pragma once

#include <memory>
#include <string>
#include <utility>

#include "cli/grammar.h"

// What the files of the grammar are made of.

namespace finetuned::cli {

// A command whose flags live as long as the parser.
template <typename Flags>
std::pair<CLI::App*, std::shared_ptr<Flags>> AddCommand(CLI::App& parent, const std::string& name,
                                                        const std::string& description) {
  return {parent.add_subcommand(name, description), std::make_shared<Flags>()};
}

template <typename Flags>
void Bind(Grammar& grammar, CLI::App* command, std::shared_ptr<Flags> flags,
          absl::StatusOr<int> (*run)(Session&, const Flags&)) {
  command->callback([&grammar, flags, run] {
    grammar.action = [flags, run](Session& session) { return run(session, *flags); };
  });
}

inline void BindName(Grammar& grammar, CLI::App* command,
                     absl::StatusOr<int> (*run)(Session&, const std::string&),
                     const std::string& what = "The run: its name, resource name or uid") {
  auto name = std::make_shared<std::string>();
  command->add_option("NAME", *name, what)->required();
  Bind<std::string>(grammar, command, name, run);
}

inline void BindPlain(Grammar& grammar, CLI::App* command, absl::StatusOr<int> (*run)(Session&)) {
  command->callback([&grammar, run] { grammar.action = run; });
}

// The flags of everything that lists.
inline void AddTableFlags(Grammar& grammar, CLI::App* command) {
  const char* group = "Table";
  command
      ->add_option(kColumnsFlag, grammar.global.columns,
                   "Only these columns, in this order: a,b; any of -o wide")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(group);
  command
      ->add_option("--sort", grammar.global.sort,
                   "By a column, of what is listed: state, or age:desc for the greatest first")
      ->group(group);
  command->add_flag("--no-headers", grammar.global.no_headers, "Without the line of names")
      ->group(group);
}

}  // namespace finetuned::cli
