// `thorax completion` and `thorax man`: completion scripts and the manual page, made from the
// options themselves.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <string_view>

#include "apps/command.h"
#include "apps/help_tree.h"

namespace thorax::app {
namespace {

// Words of "{a,b,c}", which is how CLI11 describes CLI::IsMember; empty for any other text.
std::vector<std::string> members(std::string_view text) {
  std::vector<std::string> words;
  if (!text.starts_with('{') || !text.ends_with('}')) return words;
  text = text.substr(1, text.size() - 2);
  for (std::size_t comma; (comma = text.find(',')) != text.npos; text.remove_prefix(comma + 1))
    words.emplace_back(text.substr(0, comma));
  words.emplace_back(text);
  return words;
}

HelpOption describe(const CLI::Option& option) {
  HelpOption help;
  for (const std::string& name : option.get_snames()) help.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) help.names.push_back("--" + name);
  if (help.names.empty()) help.names.push_back(option.get_name(true));
  if (option.get_items_expected_max() > 0) {
    // "TEXT:{a,b}", "FLOAT:0 to 1"
    const std::string type = option.get_type_name();
    const std::size_t colon = type.find(':');
    help.value = type.substr(0, colon);
    const std::string rule = colon == type.npos ? "" : type.substr(colon + 1);
    help.choices = members(rule);
    if (help.choices.empty()) help.rule = rule;
    help.default_value = option.get_default_str();
  }
  help.description = option.get_description();
  help.required = option.get_required();
  help.many = option.get_items_expected_max() > 1;
  return help;
}

HelpCommand describe(const CLI::App& app, const std::string& above) {
  HelpCommand help;
  if (app.get_parent() != nullptr) {
    help.name = app.get_name();
    help.path = above.empty() ? help.name : above + " " + help.name;
  }
  help.description = app.get_description();
  help.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options())
    (option->nonpositional() ? help.options : help.positionals).push_back(describe(*option));
  for (const CLI::App* inner : app.get_subcommands(nullptr))
    help.commands.push_back(describe(*inner, help.path));
  return help;
}

void add(CLI::App& root) {
  CLI::App* completion = root.add_subcommand("completion", "Completion of commands by the shell");
  completion->require_subcommand(1);
  struct Shell {
    const char *name, *example;
    std::string (*script)(const HelpCommand&);
  };
  for (const Shell shell :
       {Shell{"bash", "source <(thorax completion bash)", bash_completion},
        Shell{"zsh", "thorax completion zsh > ~/.zfunc/_thorax  # a folder of $fpath",
              zsh_completion},
        Shell{"fish", "thorax completion fish > ~/.config/fish/completions/thorax.fish",
              fish_completion}}) {
    CLI::App* command =
        completion->add_subcommand(shell.name, fmt::format("The script for {}", shell.name));
    command->footer(fmt::format("Example:\n  {}", shell.example));
    command->callback([&root, shell] { fmt::print("{}", shell.script(describe(root, ""))); });
  }
  CLI::App* man = root.add_subcommand("man", "The manual page");
  man->footer("Example:\n  thorax man > thorax.1 && man ./thorax.1");
  man->callback([&root] { fmt::print("{}", man_page(describe(root, ""))); });
}

}  // namespace
THORAX_COMMAND(110, add)
}  // namespace thorax::app
