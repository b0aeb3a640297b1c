// A module in C: it changes a text where it is, fills in a struct, and keeps state and addresses of its own.
struct measure {
    unsigned words, letters, longest;
};

static unsigned calls;
static const char *const marks[] = {"!", "?", "..."};
static const char *const *volatile chosen = marks;

__attribute__((export_name("mark"))) const char *mark(void) {
    return chosen[calls++ % 3];
}

__attribute__((export_name("shout"))) void shout(char *text, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        if (text[i] >= 'a' && text[i] <= 'z') text[i] -= 'a' - 'A';
}

__attribute__((export_name("measure"))) void measure(const char *text, unsigned size, struct measure *into) {
    volatile unsigned lengths[64] = {0}; // on the module's own stack
    unsigned word = 0;
    for (unsigned i = 0; i < size; i++) {
        if (text[i] == ' ') word += lengths[word & 63] > 0;
        else lengths[word & 63]++;
    }
    struct measure found = {0, 0, 0};
    for (unsigned i = 0; i < 64; i++) {
        found.words += lengths[i] > 0;
        found.letters += lengths[i];
        if (lengths[i] > found.longest) found.longest = lengths[i];
    }
    *into = found;
}
