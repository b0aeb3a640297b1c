#include "lib.h"

int main(int argc, char **argv) {
  size_t size;
  char *text = read_all(stdin, &size);
  table sums = {0};
  printf("crc32 %08x of %zu bytes\n", crc32((unsigned char *)text, size), size);
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    char *number = strchr(line, ' ');
    if (!number) return fprintf(stderr, "sums: no number: %s\n", line), 3;
    *number++ = 0;
    *find(&sums, line) += strtol(number, NULL, 0);
  }
  if (argc > 1 && !strcmp(argv[1], "--abort")) abort();
  sort_entries(&sums);
  for (size_t i = 0; i < sums.used; i++) printf("%-10s %ld\n", sums.at[i].key, sums.at[i].value);
  return sums.used == 0;
}
