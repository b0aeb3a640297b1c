#include "shapes.hpp"

static std::map<std::string, std::vector<std::string>> to;
static std::map<std::string, int> depth;

static int deep(const std::string &name) {
  if (auto found = depth.find(name); found != depth.end()) return found->second;
  depth[name] = 0;
  int most = 0;
  for (auto &next : to[name]) most = std::max(most, 1 + deep(next));
  return depth[name] = most;
}

int main() {
  for (auto &line : lines()) {
    auto f = fields(line, ' ');
    for (size_t i = 1; i < f.size(); i++) to[f[0]].push_back(f[i]);
  }
  std::vector<std::string> names;
  for (auto &[name, _] : to) names.push_back(name);
  for (auto &name : names) printf("%s %d %s\n", name.c_str(), deep(name), joined(to[name], ",").c_str());
  return to.empty() ? 5 : 0;
}
