"""Programs in C, compiled and linked for tests by the linker of Zig: as they are, or with relocations."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: A program of many parts: each of its calls reads data, calls by table or names what nobody else does.
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct step { const char *name; int (*run)(int, const char *); const struct step *next; };
struct point { int x; double y; };

static int length(int count, const char *text) { return (int)strlen(text) + count; }
static int letters(int count, const char *text) { while (*text) count += *text++ == 'a'; return count; }
static const struct step last = {"letters", letters, 0}, first = {"length", length, &last};
static const char *const words[] = {"alpha", "beta", "gamma", "delta", "a"};
static struct point points[] = {{1, 1.5}, {2, 2.25}, {3, -0.5}};
static int seen[300];
static const struct point *middle = &points[1];
long long total = 0x123456789abcdefLL;
int used_in_order;
static volatile int five = 5;

__attribute__((constructor)) static void before(void) { used_in_order = five; }
__attribute__((weak)) int nobody_defines_this(void);
static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Reached by nothing: a linker that keeps all keeps it, with its text, its table entry and the import it needs. */
static const char *const unused_words[] = {"never said", "nor written"};
static int unused_callback(int count, const char *text) { return count + !strcmp(text, unused_words[count & 1]); }
int (*unused_table[])(int, const char *) = {unused_callback, length};
int unused(int number) { return unused_table[number](number, "x") + (int)time(0); }

int main(int count, char **arguments) {
    qsort(arguments + 1, count - 1, sizeof *arguments, compare);
    for (int i = 1; i < count; i++) {
        for (const struct step *step = &first; step; step = step->next)
            printf("%s: %s %d\n", arguments[i], step->name, step->run(seen[i % 300], arguments[i]));
        seen[i % 300] = atoi(arguments[i]);
        switch (seen[i % 300] % 7) {
        case 0: puts(words[0]); break;
        case 1: puts(words[1]); break;
        case 2: puts(words[i % 5]); break;
        case 3: printf("%g\n", points[i % 3].y * middle->x); break;
        case 5: total += seen[i % 300]; break;
        }
    }
    char *text = calloc(count, 40);
    snprintf(text, 40 * count, "%lld %d", total, used_in_order);
    puts(text);
    if (&nobody_defines_this) nobody_defines_this();
    if (count > 6) abort();
    return count;
}
"""

#: Arguments that between them reach all that `PROGRAM` does, and what it says.
RUNS: list[tuple[list[str], bytes, int | None]] = [
    ([], b"81985529216486895 5\n", 1),
    (["7", "banana"], b"7: length 1\n7: letters 0\nalpha\nbanana: length 6\nbanana: letters 3\nalpha\n", 3),
    (["8", "9", "10", "12", "5"], b"10: length 2", 6),
    (["1", "2", "3", "4", "5", "6"], b"1: length 1", None),
]


def _zig(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Toolchain:
    """Compiles C with Zig's compiler, and links it with Zig's linker, which takes all options that LLD has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._libraries: list[str] | None = None

    def compile(self, text: str, *options: str, name: str = "program") -> Path:
        """An object file."""
        source, target = self._folder / f"{name}.c", self._folder / f"{name}.o"
        source.write_text(text, encoding="utf-8")
        done = _zig("cc", "--target=wasm32-wasi", "-c", *(options or ["-Os"]), source, "-o", target)
        assert done.returncode == 0, done.stderr
        return target

    def link(self, objects: Sequence[Path], *options: str) -> bytes:
        """A program with the C library, linked by `wasm-ld` with these options besides."""
        target = self._folder / "linked.wasm"
        inputs = [*self._library(), *map(str, objects)]
        done = _zig("wasm-ld", "--entry=_start", "-zstack-size=65536", *options, "-o", target, *inputs)
        assert done.returncode == 0, done.stderr
        return target.read_bytes()

    def _library(self) -> list[str]:
        """What Zig links to a C program: it tells when it links one."""
        if self._libraries is None:
            target = self._folder / "told.wasm"
            source = self._folder / "told.c"
            source.write_text("int main(void) { return 0; }\n", encoding="utf-8")
            # The same options as elsewhere: Zig makes a C library for each level of optimisation.
            done = _zig("cc", "--target=wasm32-wasi", "-Os", "-v", source, "-o", target)
            lines = [line for line in done.stderr.splitlines() if line.startswith("wasm-ld ")]
            assert lines, done.stderr
            words = shlex.split(lines[-1])
            self._libraries = [word for word in words if word.endswith((".a", ".o")) and Path(word).stem != "told"]
        return self._libraries
