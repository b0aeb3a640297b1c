// A program in C that calls the module. `greet` is what bacpack.toml says that it is.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREET(name) __attribute__((import_module("greet"), import_name(name)))

struct measure {
    unsigned words, letters, longest;
};

GREET("mark") const char *mark(void);
GREET("shout") void shout(char *text, unsigned size);
GREET("measure") void measure(const char *text, unsigned size, struct measure *into);
GREET("_room") unsigned greet_room(void);
GREET("_place") void greet_place(void *at);

int main(int count, char **arguments) {
    // Room for the module's data and stack, once.
    greet_place(malloc(greet_room()));
    for (int i = 1; i < count; i++) {
        struct measure found;
        char *text = strdup(arguments[i]);
        measure(text, strlen(text), &found);
        shout(text, strlen(text));
        printf("%s%s %u %u %u\n", text, mark(), found.words, found.letters, found.longest);
        free(text);
    }
    return 0;
}
