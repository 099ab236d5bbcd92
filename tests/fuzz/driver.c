/* A fuzzer for where there is no clang: changes the corpus at random, and keeps what reaches new code, which gcc tells
 * (-fsanitize-coverage=trace-pc). It takes those of libFuzzer's words that the tests use, and ends with the input that
 * made it end in a file. */
#include <sanitizer/common_interface_defs.h>

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LARGEST = 4096, MOST_INPUTS = 4096, MOST_TOKENS = 256, EDGES = 1 << 16, CHANGES = 5 };
struct input { size_t size; uint8_t data[LARGEST]; };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_cov_trace_pc(void);
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

static struct input corpus[MOST_INPUTS], now;
static size_t inputs, tokens;
static struct input token[MOST_TOKENS];
static uint8_t edge[EDGES];
static uintptr_t before;
static size_t edges;
static const char *artefacts = "";

const char *__asan_default_options(void) { return "handle_abort=1:detect_leaks=0:print_summary=1"; }
const char *__ubsan_default_options(void) { return "abort_on_error=1"; }

void __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_return_address(0), at = (here ^ before << 3) % EDGES;
    if (!edge[at]) {
        edge[at] = 1;
        edges++;
    }
    before = here;
}

static void died(void)
{
    char path[512];
    snprintf(path, sizeof path, "%scrash", artefacts);
    FILE *file = fopen(path, "wb");
    if (file) {
        fwrite(now.data, 1, now.size, file);
        fclose(file);
    }
}

static unsigned at_random(size_t most)
{
    static uint64_t state = 88172645463325252ULL;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return most ? (unsigned)(state % most) : 0;
}

static void insert(size_t at, const uint8_t *data, size_t size)
{
    if (now.size + size > LARGEST)
        return;
    memmove(now.data + at + size, now.data + at, now.size - at);
    memcpy(now.data + at, data, size);
    now.size += size;
}

static void change(void)
{
    size_t at = at_random(now.size + 1), size = at_random(now.size - at + 1);
    const struct input *other = &corpus[at_random(inputs)];
    uint8_t byte = (uint8_t)at_random(256), part[LARGEST];

    switch (at_random(7)) {
    case 0:
        insert(at, &byte, 1);
        break;
    case 1:
        if (at < now.size)
            now.data[at] ^= (uint8_t)(1 << at_random(8));
        break;
    case 2:
        size = size < 8 || !at_random(4) ? size : at_random(8);
        memmove(now.data + at, now.data + at + size, now.size - at - size);
        now.size -= size;
        break;
    case 3:  /* a piece of itself once more: two spaces, a line too many */
        size = size < 64 || !at_random(4) ? size : at_random(64);
        memcpy(part, now.data + at, size);
        insert(at, part, size);
        break;
    case 4:
        size = at_random(other->size + 1);
        insert(at, other->data + at_random(other->size - size + 1), size);
        break;
    default:
        if (tokens) {
            const struct input *word = &token[at_random(tokens)];
            insert(at, word->data, word->size);
        }
    }
}

static void run(void)
{
    size_t known = edges;
    before = 0;
    LLVMFuzzerTestOneInput(now.data, now.size);
    if (edges > known && inputs < MOST_INPUTS)
        corpus[inputs++] = now;
}

static void file_run(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file) {
        now.size = fread(now.data, 1, LARGEST, file);
        fclose(file);
        run();
    }
}

static void folder_run(const char *path)
{
    DIR *folder = opendir(path);
    char name[1024];

    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (*entry->d_name != '.')
            file_run(name);
    }
    if (folder)
        closedir(folder);
}

static void tokens_read(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "r");

    while (file && tokens < MOST_TOKENS && fgets(line, sizeof line, file))
        if (*line == '"' && strrchr(line, '"') > line) {
            token[tokens].size = (size_t)(strrchr(line, '"') - line - 1);
            memcpy(token[tokens].data, line + 1, token[tokens].size);
            tokens++;
        }
    if (file)
        fclose(file);
}

int main(int argc, char **argv)
{
    long seconds = 0, runs = 0;

    __sanitizer_set_death_callback(died);
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "-max_total_time=", 16))
            seconds = atol(argv[i] + 16);
        else if (!strncmp(argv[i], "-artifact_prefix=", 17))
            artefacts = argv[i] + 17;
        else if (!strncmp(argv[i], "-dict=", 6))
            tokens_read(argv[i] + 6);
        else if (*argv[i] != '-')
            folder_run(argv[i]);
    }
    now.size = 0;
    run();
    for (time_t end = time(NULL) + seconds; time(NULL) < end;)
        for (int i = 0; i < 1000; i++, runs++) {
            now = inputs ? corpus[at_random(inputs)] : now;
            for (unsigned left = 1 + at_random(CHANGES); left; left--)
                change();
            run();
        }
    printf("#%ld DONE cov: %zu corp: %zu\n", runs, edges, inputs);
    return 0;
}
