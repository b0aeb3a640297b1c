#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct Shape {
  virtual ~Shape() = default;
  virtual double area() const = 0;
  virtual std::string name() const { return "shape"; }
};
std::vector<std::string> lines();
std::vector<std::string> fields(const std::string &line, char at);
std::string joined(const std::vector<std::string> &parts, const std::string &with);
