// The `thorax` command.
#include <cstdio>

int main() {
  std::puts("thorax");
}
