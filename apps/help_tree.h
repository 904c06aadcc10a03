// What `--help` says of every command, as data: the source of shell completions and of the man
// page.
#pragma once

#include <string>
#include <vector>

namespace thorax::app {

struct HelpOption {
  std::vector<std::string> names;    // "-q", "--quiet"; of a positional argument its name
  std::string value;                 // "TEXT", "INT", ...; empty for a flag
  std::vector<std::string> choices;  // the only values it takes; empty: any
  std::string rule;                  // "0 to 1"; empty: none
  std::string description;
  std::string default_value;
  bool required = false;
  bool many = false;  // takes several values

  bool is_number() const { return value == "INT" || value == "UINT" || value == "FLOAT"; }
};

struct HelpCommand {
  std::string path;  // "train segmenter"; empty for the program
  std::string name;  // "segmenter"
  std::string description, footer;
  std::vector<HelpOption> options, positionals;
  std::vector<HelpCommand> commands;
};

// This command and all below it, each before those below it.
std::vector<const HelpCommand*> all_commands(const HelpCommand& root);

// Completion scripts for the command `thorax`. After an option with choices they offer these, after
// one that takes a number nothing, after any other the names of files.
std::string bash_completion(const HelpCommand& root);
std::string zsh_completion(const HelpCommand& root);
std::string fish_completion(const HelpCommand& root);

// The manual page thorax(1), in the man macros of roff.
std::string man_page(const HelpCommand& root);

}  // namespace thorax::app
