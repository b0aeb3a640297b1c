#include "shapes.hpp"

struct Circle : Shape {
  long r;
  explicit Circle(long r) : r(r) {}
  double area() const override { return 3.14159265 * r * r; }
  std::string name() const override { return "circle"; }
};
struct Box : Shape {
  long a, b;
  Box(long a, long b) : a(a), b(b) {}
  double area() const override { return a * b; }
};

int main() {
  std::vector<std::unique_ptr<Shape>> all;
  std::map<std::string, long> sums;
  for (auto &line : lines()) {
    auto f = fields(line, ' ');
    if (f[0] == "circle" && f.size() == 2) all.push_back(std::make_unique<Circle>(atol(f[1].c_str())));
    else if (f[0] == "box" && f.size() == 3) all.push_back(std::make_unique<Box>(atol(f[1].c_str()), atol(f[2].c_str())));
    else return fprintf(stderr, "no shape: %s\n", joined(f, "|").c_str()), 4;
  }
  for (auto &shape : all) sums[shape->name()] += long(shape->area());
  for (auto &[name, sum] : sums) printf("%s %ld\n", name.c_str(), sum);
}
