/* What the fuzz targets of init share. Each target is a file with LLVMFuzzerTestOneInput, as libFuzzer has it. */
#ifndef TARGET_H
#define TARGET_H

#include "init.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of the exact size, so that a byte too far is seen; with a NUL behind it where the parser is promised one. */
static inline char *copy_of(const uint8_t *data, size_t size, size_t nul)
{
    char *copy = malloc(size + nul ? size + nul : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    if (nul)
        copy[size] = '\0';
    return copy;
}

#define MUST(holds) do { if (!(holds)) abort(); } while (0)

/* What the parsers call when they give up: none of these inputs may bring them to that. */
_Noreturn void fail(const char *first, ...) { (void)first; abort(); }
void console_say(const char *first, ...) { (void)first; }

#endif
