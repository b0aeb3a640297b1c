#include "shapes.hpp"

std::vector<std::string> lines() {
  std::vector<std::string> out(1);
  for (int c; (c = getchar()) != EOF;) {
    if (c == '\n') out.emplace_back();
    else out.back() += char(c);
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

std::vector<std::string> fields(const std::string &line, char at) {
  std::vector<std::string> out;
  for (size_t from = 0;;) {
    size_t to = line.find(at, from);
    out.push_back(line.substr(from, to - from));
    if (to == std::string::npos) return out;
    from = to + 1;
  }
}

std::string joined(const std::vector<std::string> &parts, const std::string &with) {
  std::string out;
  for (auto &part : parts) out += out.empty() ? part : with + part;
  return out;
}
