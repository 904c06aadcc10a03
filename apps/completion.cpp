#include <fmt/format.h>

#include <algorithm>

#include "apps/help_tree.h"

namespace thorax::app {
namespace {

void collect(const HelpCommand& command, std::vector<const HelpCommand*>& all) {
  all.push_back(&command);
  for (const HelpCommand& inner : command.commands) collect(inner, all);
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

// First line, so that a list of candidates stays one.
std::string headline(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// For bash and zsh; a quote is left, written and taken up again.
std::string single_quoted(const std::string& text) {
  return "'" + replaced(text, "'", "'\\''") + "'";
}

std::string names_of_commands(const HelpCommand& command) {
  std::string names;
  for (const HelpCommand& inner : command.commands)
    names += (names.empty() ? "" : " ") + inner.name;
  return names;
}

}  // namespace

std::vector<const HelpCommand*> all_commands(const HelpCommand& root) {
  std::vector<const HelpCommand*> all;
  collect(root, all);
  return all;
}

std::string bash_completion(const HelpCommand& root) {
  std::string paths, cases;
  for (const HelpCommand* command : all_commands(root)) {
    if (!command->path.empty())
      paths += fmt::format("{}{}", paths.empty() ? "" : " | ", single_quoted(command->path));
    std::string options, values;
    for (const HelpOption& option : command->options) {
      options += fmt::format("{}{}", options.empty() ? "" : " ", fmt::join(option.names, " "));
      if (option.value.empty()) continue;
      const std::string words = fmt::format("{}", fmt::join(option.choices, " "));
      values += fmt::format("        {}) {} ;;\n", fmt::join(option.names, " | "),
                            !words.empty()       ? "values=" + single_quoted(words)
                            : option.is_number() ? "wanted=number"
                                                 : "wanted=file");
    }
    cases += fmt::format(
        "    {})\n      commands={} options={}\n      case $option in\n{}      esac\n      ;;\n",
        single_quoted(command->path), single_quoted(names_of_commands(*command)),
        single_quoted(options), values);
  }
  return fmt::format(R"(# bash completion of thorax, made by `thorax completion bash`.
_thorax() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD - 1]}}
  local command= commands= options= values= wanted= next i
  # --name=value comes as three words.
  if [[ $current == = ]]; then
    current=
  elif [[ $option == = ]]; then
    option=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    next=${{command:+$command }}${{COMP_WORDS[i]}}
    case $next in
      {}) command=$next ;;
    esac
  done
  case $command in
{}  esac
  COMPREPLY=()
  if [[ $values ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
  elif [[ $wanted == number ]]; then
    compopt +o default 2>/dev/null
  elif [[ $commands && $current != -* ]]; then
    COMPREPLY=($(compgen -W "$commands" -- "$current"))
    compopt +o default 2>/dev/null
  elif [[ ! $wanted ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  fi
}}
# Where the function offers nothing, names of files.
complete -o default -F _thorax thorax
)",
                     paths, cases);
}

namespace {

// For the text of an _arguments specification, within quotes.
std::string zsh_text(std::string text) {
  text = replaced(headline(text), "\\", "\\\\");
  for (const char* special : {"[", "]", ":"})
    text = replaced(text, special, std::string("\\") + special);
  return replaced(text, "'", "'\\''");
}

std::string zsh_action(const HelpOption& option) {
  if (!option.choices.empty()) return fmt::format("({})", fmt::join(option.choices, " "));
  return option.is_number() ? " " : "_files";
}

std::string zsh_function(const HelpCommand& command) {
  return "_thorax" +
         (command.path.empty() ? "" : "_" + replaced(replaced(command.path, " ", "_"), "-", "_"));
}

}  // namespace

std::string zsh_completion(const HelpCommand& root) {
  std::string text =
      "#compdef thorax\n# zsh completion of thorax, made by `thorax completion zsh`.\n";
  for (const HelpCommand* command : all_commands(root)) {
    text += fmt::format("\n{}() {{\n", zsh_function(*command));
    if (!command->commands.empty())
      text += "  local curcontext=$curcontext state line\n  typeset -A opt_args\n";
    text += command->commands.empty() ? "  _arguments -s" : "  _arguments -C";
    for (const HelpOption& option : command->options) {
      const std::string value =
          option.value.empty() ? "" : fmt::format(":{}:{}", option.value, zsh_action(option));
      // One specification for each name; a name excludes the others unless values may be repeated.
      for (const std::string& name : option.names)
        text += fmt::format(" \\\n    '{}{}[{}]{}'",
                            option.many ? "*" : fmt::format("({})", fmt::join(option.names, " ")),
                            name, zsh_text(option.description), value);
    }
    for (const HelpOption& option : command->positionals)
      text += fmt::format(" \\\n    '{}:{}:{}'", option.many ? "*" : "", option.names.front(),
                          zsh_action(option));
    if (command->commands.empty()) {
      text += "\n}\n";
      continue;
    }
    text +=
        " \\\n    '1:command:->command' '*::argument:->argument'\n  case $state in\n    command)\n"
        "      local -a commands=(\n";
    for (const HelpCommand& inner : command->commands)
      text += fmt::format("        '{}:{}'\n", inner.name,
                          replaced(headline(inner.description), "'", "'\\''"));
    text +=
        "      )\n      _describe command commands\n      ;;\n    argument)\n      case $line[1] "
        "in\n";
    for (const HelpCommand& inner : command->commands)
      text += fmt::format("        {}) {} ;;\n", inner.name, zsh_function(inner));
    text += "      esac\n      ;;\n  esac\n}\n";
  }
  // As a file of $fpath it is the function's body, sourced it defines the function.
  return text +
         "\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n  _thorax \"$@\"\nelse\n  "
         "compdef _thorax thorax\nfi\n";
}

std::string fish_completion(const HelpCommand& root) {
  const auto fish_text = [](const std::string& text) {
    return "'" + replaced(replaced(headline(text), "\\", "\\\\"), "'", "\\'") + "'";
  };
  std::string paths, rows;
  for (const HelpCommand* command : all_commands(root)) {
    if (!command->path.empty()) paths += fmt::format(" '{}'", command->path);
    const std::string row =
        fmt::format("complete -c thorax -n \"__thorax_at '{}'\"", command->path);
    for (const HelpCommand& inner : command->commands)
      rows += fmt::format("{} -f -a {} -d {}\n", row, inner.name, fish_text(inner.description));
    for (const HelpOption& option : command->options) {
      rows += row;
      for (const std::string& name : option.names)
        rows += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!option.choices.empty())
        rows += fmt::format(" -x -a '{}'", fmt::join(option.choices, " "));
      else if (!option.value.empty())
        rows += option.is_number() ? " -x" : " -r -F";
      rows += fmt::format(" -d {}\n", fish_text(option.description));
    }
  }
  return fmt::format(R"(# fish completion of thorax, made by `thorax completion fish`.
# Whether the command line names this command, "train segmenter", and none below it.
function __thorax_at
    set -l command
    for word in (commandline -opc)[2..-1]
        set -l next (string join -- ' ' $command $word)
        if contains -- $next{}
            set command $next
        end
    end
    test "$command" = "$argv[1]"
end
{})",
                     paths, rows);
}

}  // namespace thorax::app
