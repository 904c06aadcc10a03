// A strict reader of XML, small enough to be seen through: what it accepts is balanced, quoted and
// escaped. (xmllint, where it is installed, is asked too.)
#pragma once

#include <cctype>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace thorax::test {

struct XmlElement {
  std::string name;
  std::map<std::string, std::string> attributes;  // as written, references not resolved
};

struct XmlCheck {
  std::string error;                 // empty = well-formed
  std::vector<XmlElement> elements;  // in document order
  std::string text;                  // character data of all elements, references resolved

  bool has(const std::string& name) const {
    for (const XmlElement& e : elements)
      if (e.name == name) return true;
    return false;
  }
};

namespace xml_detail {

inline bool name_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == ':' ||
         c == '.';
}

// Resolves the reference at `at` ("&...;"); false when it is none that XML knows without a DTD.
inline bool reference(const std::string& s, std::size_t& at, std::string& out) {
  const std::size_t end = s.find(';', at);
  if (end == std::string::npos || end - at > 10) return false;
  const std::string name = s.substr(at + 1, end - at - 1);
  static const std::map<std::string, std::string> kKnown = {
      {"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"#39", "'"}};
  const auto found = kKnown.find(name);
  if (found == kKnown.end()) return false;
  out += found->second;
  at = end + 1;
  return true;
}

}  // namespace xml_detail

inline XmlCheck check_xml(const std::string& s) {
  XmlCheck result;
  std::vector<std::string> open;
  bool rooted = false;
  std::size_t i = 0;
  const auto refuse = [&](const std::string& what) {
    result.error = what + " at byte " + std::to_string(i) + ": " + s.substr(i, 60);
    return result;
  };
  while (i < s.size()) {
    if (s[i] != '<') {
      if (s.compare(i, 3, "]]>") == 0) return refuse("']]>' in text");
      if (static_cast<unsigned char>(s[i]) < 0x20 && s[i] != '\n' && s[i] != '\t' && s[i] != '\r')
        return refuse("control character");
      if (open.empty() && !std::isspace(static_cast<unsigned char>(s[i])))
        return refuse("text outside of the root");
      if (s[i] == '&') {
        if (!xml_detail::reference(s, i, result.text)) return refuse("'&' that is no reference");
        continue;
      }
      result.text += s[i++];
      continue;
    }
    if (s.compare(i, 2, "<?") == 0 || s.compare(i, 9, "<!DOCTYPE") == 0) {
      if (rooted) return refuse("prologue after the root");
      i = s.find('>', i);
      if (i == std::string::npos) return refuse("prologue without end");
      ++i;
      continue;
    }
    if (s.compare(i, 2, "<!") == 0) return refuse("a declaration or comment");
    if (s.compare(i, 2, "</") == 0) {
      const std::size_t end = s.find('>', i);
      if (end == std::string::npos) return refuse("tag without end");
      std::string name = s.substr(i + 2, end - i - 2);
      while (!name.empty() && std::isspace(static_cast<unsigned char>(name.back())))
        name.pop_back();
      if (open.empty() || open.back() != name) return refuse("</" + name + "> closes nothing");
      open.pop_back();
      i = end + 1;
      continue;
    }
    XmlElement element;
    ++i;
    while (i < s.size() && xml_detail::name_char(s[i])) element.name += s[i++];
    if (element.name.empty()) return refuse("'<' that begins no tag");
    if (open.empty() && rooted) return refuse("a second root");
    rooted = true;
    bool closed = false;
    for (;;) {
      while (i < s.size() && std::isspace(static_cast<unsigned char>(s[i]))) ++i;
      if (i >= s.size()) return refuse("tag without end");
      if (s[i] == '>') break;
      if (s.compare(i, 2, "/>") == 0) {
        closed = true;
        ++i;
        break;
      }
      std::string name;
      while (i < s.size() && xml_detail::name_char(s[i])) name += s[i++];
      while (i < s.size() && std::isspace(static_cast<unsigned char>(s[i]))) ++i;
      if (name.empty() || i >= s.size() || s[i] != '=') return refuse("attribute without value");
      ++i;
      while (i < s.size() && std::isspace(static_cast<unsigned char>(s[i]))) ++i;
      const char quote = i < s.size() ? s[i] : ' ';
      if (quote != '"' && quote != '\'') return refuse("unquoted attribute");
      std::string value, resolved;
      for (++i; i < s.size() && s[i] != quote;) {
        if (s[i] == '<') return refuse("'<' in an attribute");
        if (s[i] == '&') {
          const std::size_t from = i;
          if (!xml_detail::reference(s, i, resolved)) return refuse("'&' that is no reference");
          value += s.substr(from, i - from);
          continue;
        }
        value += s[i++];
      }
      if (i >= s.size()) return refuse("attribute without end");
      ++i;
      if (!element.attributes.emplace(name, value).second) return refuse("attribute given twice");
    }
    ++i;
    if (!closed) open.push_back(element.name);
    result.elements.push_back(std::move(element));
  }
  if (!open.empty()) result.error = "<" + open.back() + "> is never closed";
  if (!rooted) result.error = "no element";
  return result;
}

// What would be fetched or run when the page is opened, and references that lead nowhere; empty
// when there is none.
inline std::string outside_references(const XmlCheck& xml) {
  std::set<std::string> ids;
  for (const XmlElement& e : xml.elements)
    if (const auto id = e.attributes.find("id"); id != e.attributes.end())
      if (!ids.insert(id->second).second) return "id '" + id->second + "' occurs twice";
  for (const XmlElement& e : xml.elements) {
    for (const char* name : {"script", "link", "iframe", "object", "embed", "base", "form"})
      if (e.name == name) return "<" + e.name + ">";
    for (const auto& [name, value] : e.attributes) {
      if (name.starts_with("xmlns")) continue;  // names, not addresses
      if (name.starts_with("on")) return e.name + " has " + name;
      if (name == "src" && !value.starts_with("data:image/")) return "src=" + value;
      if (name == "href" || name == "xlink:href") {
        if (value.starts_with("#")) {
          if (!ids.count(value.substr(1))) return "href=" + value + " leads nowhere";
        } else if (e.name != "a" || !value.starts_with("./")) {
          return e.name + " href=" + value;
        }
      }
      if (value.find("://") != std::string::npos && name != "alt" && name != "aria-label")
        return e.name + " " + name + "=" + value;
      for (std::size_t at = value.find("url("); at != std::string::npos;
           at = value.find("url(", at + 1))
        if (value.compare(at, 5, "url(#") != 0) return name + "=" + value;
    }
  }
  return {};
}

}  // namespace thorax::test
