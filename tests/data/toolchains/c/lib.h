#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  char *key;
  long value;
} entry;
typedef struct {
  entry *at;
  size_t used, room;
} table;

char *read_all(FILE *from, size_t *size);
uint32_t crc32(const unsigned char *data, size_t size);
long *find(table *in, const char *key);
void sort_entries(table *all);
