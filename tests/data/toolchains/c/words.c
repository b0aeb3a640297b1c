#include <ctype.h>

#include "lib.h"

int main(int argc, char **argv) {
  size_t size;
  char *text = read_all(stdin, &size);
  table words = {0};
  int top = argc > 1 ? atoi(argv[1]) : 5;
  if (top <= 0) return fprintf(stderr, "usage: words [COUNT]\n"), 2;
  for (char *word = strtok(text, " \n"); word; word = strtok(NULL, " \n")) {
    for (char *at = word; *at; at++) *at = tolower(*at);
    ++*find(&words, word);
  }
  sort_entries(&words);
  for (size_t i = 0; i < words.used && i < (size_t)top; i++) printf("%6ld %s\n", words.at[i].value, words.at[i].key);
}
