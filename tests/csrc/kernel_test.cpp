// Runs every kernel of every set that this processor has on the cases of a file.

#include "checks.h"

int main(int count, char** arguments) {
  if (count != 2) {
    std::printf("usage: %s CASES\n", arguments[0]);
    return 2;
  }
  Checks checks = product_checks();
  checks.merge(conv_checks());
  checks.merge(latent_checks());
  checks.merge(decoding_checks());
  CaseFile file(arguments[1]);
  std::map<std::string, int> checked;
  while (!file.at_end()) {
    const std::string name = file.text();
    const auto found = checks.find(name);
    if (found == checks.end()) {
      std::printf("no check for %s\n", name.c_str());
      return 2;
    }
    found->second(file);
    ++checked[name];
  }
  for (const auto& [name, check] : checks) std::printf("%s: %d cases\n", name.c_str(), checked[name]);
  std::printf("sets:");
  for (const KernelSet* set : kernel_sets()) {
    if (set->runs_here()) std::printf(" %s", set->name);
  }
  std::printf("\n%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
