#include "lib.h"

char *read_all(FILE *from, size_t *size) {
  size_t room = 4096, got;
  char *out = malloc(room);
  *size = 0;
  while ((got = fread(out + *size, 1, room - *size - 1, from))) {
    *size += got;
    if (*size + 1 == room) out = realloc(out, room *= 2);
  }
  out[*size] = 0;
  return out;
}

uint32_t crc32(const unsigned char *data, size_t size) {
  static uint32_t rests[256];
  if (!rests[1])
    for (uint32_t i = 0; i < 256; i++) {
      rests[i] = i;
      for (int bit = 0; bit < 8; bit++) rests[i] = rests[i] & 1 ? 0xEDB88320u ^ (rests[i] >> 1) : rests[i] >> 1;
    }
  uint32_t rest = ~0u;
  while (size--) rest = rests[(rest ^ *data++) & 255] ^ (rest >> 8);
  return ~rest;
}

long *find(table *in, const char *key) {
  for (size_t i = 0; i < in->used; i++)
    if (!strcmp(in->at[i].key, key)) return &in->at[i].value;
  if (in->used == in->room) in->at = realloc(in->at, (in->room = in->room ? 2 * in->room : 8) * sizeof(entry));
  in->at[in->used] = (entry){strdup(key), 0};
  return &in->at[in->used++].value;
}

static int by_value_then_key(const void *a, const void *b) {
  const entry *x = a, *y = b;
  return x->value != y->value ? (x->value < y->value) - (x->value > y->value) : strcmp(x->key, y->key);
}

void sort_entries(table *all) { qsort(all->at, all->used, sizeof(entry), by_value_then_key); }
