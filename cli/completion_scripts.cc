#include "cli/completion_scripts.h"

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace finetuned::cli {
namespace {

using Kind = Candidates::Kind;

// A word of bash and of zsh.
std::string Quote(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

std::string FishQuote(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

// `@none`, `@files`, `@runs`, or the words themselves; never empty.
std::string Code(const Candidates& candidates) {
  switch (candidates.kind) {
    case Kind::kNone: return "@none";
    case Kind::kWords: return absl::StrJoin(candidates.words, " ");
    case Kind::kFiles: return "@files";
    case Kind::kNames: return "@" + candidates.words.at(0);
  }
  return "@none";
}

// Which flags take a value and which value, as `<command> <flag>` to the code. A flag that is the
// same with every command that has it is there once, with `*` for the command.
std::map<std::string, std::string> ValueCodes(const std::vector<CompletionCommand>& tree) {
  std::map<std::string, std::set<std::string>> codes;
  const auto code = [](const CompletionFlag& flag) {
    return flag.takes_value ? Code(flag.value) : "";
  };
  for (const CompletionCommand& command : tree) {
    for (const CompletionFlag& flag : command.flags) {
      for (const std::string& name : flag.names) codes[name].insert(code(flag));
    }
  }
  std::map<std::string, std::string> result;
  for (const CompletionCommand& command : tree) {
    for (const CompletionFlag& flag : command.flags) {
      for (const std::string& name : flag.names) {
        if (!flag.takes_value) continue;
        const bool same = codes[name].size() == 1;
        result[same ? absl::StrCat("* ", name) : absl::StrCat(command.path, " ", name)] =
            code(flag);
      }
    }
  }
  return result;
}

// A pattern of bash and zsh: the star is one, the rest is meant as it stands.
std::string Pattern(const std::string& key) {
  return absl::StartsWith(key, "* ") ? absl::StrCat("*", Quote(key.substr(1))) : Quote(key);
}

std::string Words(const std::vector<std::pair<std::string, std::string>>& commands) {
  return absl::StrJoin(commands, " ", [](std::string* out, const auto& command) {
    absl::StrAppend(out, command.first);
  });
}

constexpr char kBashBegin[] =
    R"sh(# Completion of finetune for bash. Written by: finetune completion bash
#
# Sets _ft_commands, _ft_flags and _ft_argument to what may follow a command.
_finetune_command() {
  _ft_commands= _ft_flags= _ft_argument=@none
  case $1 in
)sh";
constexpr char kBashMiddle[] = R"sh(  esac
}

# Sets _ft_value to what a flag of a command takes: words, @files, @none, or the names that the
# program prints; empty when it takes nothing.
_finetune_value() {
  _ft_value=
  case "$1 $2" in
)sh";
constexpr char kBashEnd[] = R"sh(  esac
}

# Offers what begins like the word at the cursor. Names of others are never evaluated, only quoted.
_finetune_offer() {
  local name
  case $1 in
    @none) ;;
    @files)
      compopt -o filenames 2>/dev/null
      while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$_ft_word")
      ;;
    @*)
      while IFS= read -r name; do
        [[ $name == "$_ft_word"* ]] && COMPREPLY+=("$(printf %q "$name")")
      done < <(command finetune __complete "${1#@}" "${_ft_connection[@]}" 2>/dev/null)
      ;;
    *)
      for name in $1; do [[ $name == "$_ft_word"* ]] && COMPREPLY+=("$name"); done
      ;;
  esac
}

_finetune() {
  local _ft_commands _ft_flags _ft_argument _ft_value _ft_word _ft_connection=()
  local line=${COMP_LINE:0:COMP_POINT} at= flag= word broken i
  local -a words
  COMPREPLY=()
  # Not COMP_WORDS, which are broken at @, : and = as well.
  read -ra words <<<"${line//$'\n'/ }"
  [[ $line == *[[:space:]] ]] && words+=('')
  while ((${#words[@]} > 1)) && [[ ${words[0]} != "$1" ]]; do words=("${words[@]:1}"); done
  _ft_word=${words[${#words[@]} - 1]}
  for ((i = 1; i + 1 < ${#words[@]}; i++)); do
    word=${words[i]}
    if [[ -n $flag ]]; then
      case $flag in --server | --context | --token-file) _ft_connection+=("$flag" "$word") ;; esac
      flag=
    elif [[ $word == -*=* ]]; then
      case $word in --server=* | --context=* | --token-file=*) _ft_connection+=("$word") ;; esac
    elif [[ $word == -* ]]; then
      _finetune_value "$at" "$word"
      [[ -n $_ft_value ]] && flag=$word
    else
      _finetune_command "$at"
      [[ " $_ft_commands " == *" $word "* ]] && at=${at:+$at }$word
    fi
  done
  if [[ -z $flag && $_ft_word == --*=* ]]; then
    flag=${_ft_word%%=*} _ft_word=${_ft_word#*=}
  fi
  _finetune_command "$at"
  if [[ -n $flag ]]; then
    _finetune_value "$at" "$flag"
    _finetune_offer "${_ft_value:-@none}"
  elif [[ $_ft_word == -* ]]; then
    _finetune_offer "$_ft_flags"
  else
    _finetune_offer "${_ft_commands:-$_ft_argument}"
  fi
  # The shell replaces only what stands behind the last character that breaks words.
  broken=${_ft_word%"${_ft_word##*[@:=]}"}
  if [[ -n $broken ]]; then
    for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]#"$broken"}; done
  fi
}

complete -F _finetune finetune
)sh";

constexpr char kZshBegin[] = R"sh(#compdef finetune
# Completion of finetune for zsh. Written by: finetune completion zsh
#
# Sets ft_commands, ft_flags and ft_argument to what may follow a command.
_finetune_command() {
  ft_commands=() ft_flags=() ft_argument=@none
  case $1 in
)sh";
constexpr char kZshMiddle[] = R"sh(  esac
}

# Sets ft_value to what a flag of a command takes: words, @files, @none, or the names that the
# program prints; empty when it takes nothing.
_finetune_value() {
  ft_value=
  case "$1 $2" in
)sh";
constexpr char kZshEnd[] = R"sh(  esac
}

_finetune_offer() {
  local -a found
  case $1 in
    (@none) ;;
    (@files) _files ;;
    (@*)
      found=(${(f)"$(command finetune __complete ${1#@} $ft_connection 2>/dev/null)"})
      compadd -a found
      ;;
    (*)
      found=(${=1})
      compadd -a found
      ;;
  esac
}

_finetune() {
  local -a ft_commands ft_flags ft_connection
  local ft_argument ft_value at= flag= word
  integer i
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
    if [[ -n $flag ]]; then
      case $flag in (--server|--context|--token-file) ft_connection+=($flag $word) ;; esac
      flag=
    elif [[ $word == -*=* ]]; then
      case $word in (--server=*|--context=*|--token-file=*) ft_connection+=($word) ;; esac
    elif [[ $word == -* ]]; then
      _finetune_value "$at" "$word"
      [[ -n $ft_value ]] && flag=$word
    else
      _finetune_command "$at"
      [[ -n ${(M)ft_commands:#${(b)word}:*} ]] && at=${at:+$at }$word
    fi
  done
  word=${words[CURRENT]}
  if [[ -z $flag && $word == --*=* ]]; then
    flag=${word%%=*}
    compset -P '*='
  fi
  _finetune_command "$at"
  if [[ -n $flag ]]; then
    _finetune_value "$at" "$flag"
    _finetune_offer "${ft_value:-@none}"
  elif [[ $word == -* ]]; then
    _describe -o flag ft_flags
  elif (( $#ft_commands )); then
    _describe command ft_commands
  else
    _finetune_offer "$ft_argument"
  fi
}

# Found on fpath, or read by source.
if [[ $funcstack[1] == _finetune ]]; then
  _finetune "$@"
else
  compdef _finetune finetune
fi
)sh";

constexpr char kFishBegin[] =
    R"sh(# Completion of finetune for fish. Written by: finetune completion fish

# Whether a flag of a command takes a value.
function __finetune_takes_value
    switch "$argv[1] $argv[2]"
)sh";
constexpr char kFishMiddle[] = R"sh(            return 0
    end
    return 1
end

# The commands beneath a command.
function __finetune_commands
    switch "$argv[1]"
)sh";
constexpr char kFishEnd[] = R"sh(    end
end

# The command that the words before the cursor name, and then the flags that say which server.
function __finetune_state
    set -l at ''
    set -l flag ''
    set -l connection
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$flag"
            contains -- $flag --server --context --token-file
            and set -a connection $flag $word
            set flag ''
        else if string match -q -- '-*=*' $word
            string match -qr -- '^--(server|context|token-file)=' $word
            and set -a connection $word
        else if string match -q -- '-*' $word
            __finetune_takes_value "$at" $word
            and set flag $word
        else if contains -- $word (__finetune_commands "$at")
            set at (string trim -- "$at $word")
        end
    end
    echo $at
    string join \n -- $connection
end

function __finetune_at
    set -l state (__finetune_state)
    test "$state[1]" = "$argv[1]"
end

function __finetune_names
    set -l state (__finetune_state)
    command finetune __complete $argv[1] $state[2..-1] 2>/dev/null
end

complete -c finetune -f
)sh";

// `name:description` as _describe of zsh takes it.
std::string ZshItem(const std::string& name, const std::string& description) {
  return Quote(absl::StrCat(absl::StrReplaceAll(name, {{":", "\\:"}}), ":", description));
}

}  // namespace

std::string BashScript(const std::vector<CompletionCommand>& tree) {
  std::string script = kBashBegin;
  for (const CompletionCommand& command : tree) {
    std::vector<std::string> flags;
    for (const CompletionFlag& flag : command.flags) {
      flags.insert(flags.end(), flag.names.begin(), flag.names.end());
    }
    absl::StrAppend(&script, "    ", Quote(command.path), ")\n");
    if (!command.commands.empty()) {
      absl::StrAppend(&script, "      _ft_commands=", Quote(Words(command.commands)), "\n");
    }
    absl::StrAppend(&script, "      _ft_flags=", Quote(absl::StrJoin(flags, " ")), "\n");
    if (command.argument.kind != Kind::kNone) {
      absl::StrAppend(&script, "      _ft_argument=", Quote(Code(command.argument)), "\n");
    }
    absl::StrAppend(&script, "      ;;\n");
  }
  script += kBashMiddle;
  for (const auto& [key, code] : ValueCodes(tree)) {
    absl::StrAppend(&script, "    ", Pattern(key), ") _ft_value=", Quote(code), " ;;\n");
  }
  return script + kBashEnd;
}

std::string ZshScript(const std::vector<CompletionCommand>& tree) {
  std::string script = kZshBegin;
  for (const CompletionCommand& command : tree) {
    absl::StrAppend(&script, "    (", Quote(command.path), ")\n");
    if (!command.commands.empty()) {
      absl::StrAppend(&script, "      ft_commands=(\n");
      for (const auto& [name, description] : command.commands) {
        absl::StrAppend(&script, "        ", ZshItem(name, description), "\n");
      }
      absl::StrAppend(&script, "      )\n");
    }
    absl::StrAppend(&script, "      ft_flags=(\n");
    for (const CompletionFlag& flag : command.flags) {
      for (const std::string& name : flag.names) {
        absl::StrAppend(&script, "        ", ZshItem(name, flag.description), "\n");
      }
    }
    absl::StrAppend(&script, "      )\n      ft_argument=", Quote(Code(command.argument)),
                    "\n      ;;\n");
  }
  script += kZshMiddle;
  for (const auto& [key, code] : ValueCodes(tree)) {
    absl::StrAppend(&script, "    (", Pattern(key), ") ft_value=", Quote(code), " ;;\n");
  }
  return script + kZshEnd;
}

std::string FishScript(const std::vector<CompletionCommand>& tree) {
  std::string script = kFishBegin;
  absl::StrAppend(&script, "        case");
  for (const auto& [key, code] : ValueCodes(tree)) {
    absl::StrAppend(&script, " \\\n            ", FishQuote(key));
  }
  absl::StrAppend(&script, "\n", kFishMiddle);
  for (const CompletionCommand& command : tree) {
    if (command.commands.empty()) continue;
    absl::StrAppend(&script, "        case ", FishQuote(command.path),
                    "\n            string split ' ' -- ", FishQuote(Words(command.commands)), "\n");
  }
  script += kFishEnd;
  for (const CompletionCommand& command : tree) {
    const std::string begin =
        absl::StrCat("complete -c finetune -n ",
                     FishQuote(absl::StrCat("__finetune_at ", FishQuote(command.path))));
    const auto values = [](const Candidates& candidates) {
      return candidates.kind == Kind::kNames
                 ? FishQuote(absl::StrCat("(__finetune_names ", candidates.words.at(0), ")"))
                 : FishQuote(absl::StrJoin(candidates.words, " "));
    };
    for (const auto& [name, description] : command.commands) {
      absl::StrAppend(&script, begin, " -a ", FishQuote(name), " -d ", FishQuote(description),
                      "\n");
    }
    for (const CompletionFlag& flag : command.flags) {
      absl::StrAppend(&script, begin);
      for (const std::string& name : flag.names) {
        const bool is_long = absl::StartsWith(name, "--");
        absl::StrAppend(&script, is_long ? " -l " : " -s ", name.substr(is_long ? 2 : 1));
      }
      if (flag.takes_value) {
        absl::StrAppend(&script, flag.value.kind == Kind::kFiles ? " -r -F" : " -x");
        if (!flag.value.words.empty()) absl::StrAppend(&script, " -a ", values(flag.value));
      }
      absl::StrAppend(&script, " -d ", FishQuote(flag.description), "\n");
    }
    if (!command.argument.words.empty()) {
      absl::StrAppend(&script, begin, " -a ", values(command.argument), "\n");
    }
  }
  return script;
}

}  // namespace finetuned::cli
