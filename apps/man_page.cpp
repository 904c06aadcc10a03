// The manual page, in the man macros of roff (man(7)).
#include <fmt/format.h>

#include "apps/help_tree.h"

namespace thorax::app {
namespace {

// Plain text as roff takes it: no escape, no hyphen that becomes a dash, no line that is a request.
std::string roff(const std::string& text) {
  std::string out;
  bool at_start = true;
  for (const char c : text) {
    if (at_start && (c == '.' || c == '\'')) out += "\\&";
    at_start = c == '\n';
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\'')
      out += "\\(aq";
    else if (c == '`')
      out += "\\(ga";
    else if (c == '^')
      out += "\\(ha";
    else if (c == '~')
      out += "\\(ti";
    else
      out += c;
  }
  return out;
}

std::string ending(const std::string& text) {
  return text.empty() || text.ends_with('\n') ? text : text + "\n";
}

std::string describe(const HelpOption& option) {
  std::string tag;
  for (const std::string& name : option.names)
    tag += fmt::format("{}\\fB{}\\fR", tag.empty() ? "" : ", ", roff(name));
  if (option.names.front().starts_with('-') && !option.value.empty())
    tag += fmt::format(" \\fI{}\\fR{}", option.value, option.many ? " ..." : "");
  std::string text = fmt::format(".TP\n{}\n{}", tag, ending(roff(option.description)));
  std::string more;
  const auto add = [&](const std::string& part) { more += (more.empty() ? "" : "; ") + part; };
  if (!option.choices.empty()) add(fmt::format("one of {}", fmt::join(option.choices, ", ")));
  if (!option.rule.empty()) add(option.rule);
  if (!option.default_value.empty()) add("default " + option.default_value);
  if (option.required) add("required");
  return more.empty() ? text : text + ".br\n" + roff("(" + more + ")") + "\n";
}

std::string usage(const HelpCommand& command) {
  std::string text = "\\fBthorax";
  if (!command.path.empty()) text += " " + roff(command.path);
  text += "\\fR";
  if (!command.options.empty()) text += " [\\fIOPTIONS\\fR]";
  for (const HelpOption& argument : command.positionals)
    text +=
        fmt::format(" {}\\fI{}\\fR{}{}", argument.required ? "" : "[", roff(argument.names.front()),
                    argument.many ? "..." : "", argument.required ? "" : "]");
  if (!command.commands.empty()) text += " \\fICOMMAND\\fR";
  return text + "\n";
}

std::string options_of(const HelpCommand& command) {
  std::string text;
  for (const HelpOption& argument : command.positionals) text += describe(argument);
  for (const HelpOption& option : command.options) text += describe(option);
  return text;
}

}  // namespace

std::string man_page(const HelpCommand& root) {
  std::string text = fmt::format(
      ".\\\" Made by `thorax man` from the help texts.\n.TH THORAX 1 {} \"thorax {}\" \"User "
      "Commands\"\n"
      ".SH NAME\nthorax \\- train, cross\\-validate and use networks for chest X\\-rays\n.SH "
      "SYNOPSIS\n{}"
      ".SH DESCRIPTION\n{}",
      THORAX_RELEASED, THORAX_VERSION, usage(root), ending(roff(root.description)));
  text += ".SH OPTIONS\n" + options_of(root) + ".SH COMMANDS\n";
  for (const HelpCommand* command : all_commands(root)) {
    if (command->path.empty()) continue;
    text += fmt::format(".SS \"{}\"\n{}.PP\n{}", roff(command->path), usage(*command),
                        ending(roff(command->description)));
    text += options_of(*command);
    // Examples and tables as they stand.
    if (!command->footer.empty())
      text += fmt::format(".PP\n.nf\n{}.fi\n", ending(roff(command->footer)));
  }
  return text +
         ".SH EXIT STATUS\n.TP\n0\nDone.\n.TP\n1\nFailed; the message says what and "
         "where.\n.TP\n2\nWrong usage.\n"
         ".TP\n3\nStopped by a signal after writing a checkpoint; the same command with "
         "\\-\\-resume goes on.\n"
         ".SH NOTES\n" +
         ending(roff(root.footer));
}

}  // namespace thorax::app
