/* PID 1 of a machine that prepares a tree while an image is built: it runs one command over a writable layer and writes
 * down what that changed. docs/contracts.md has its orders and the format that comes out. */
#ifndef PREPARE_H
#define PREPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MOST_WORDS = 4096, MOST_GROUPS = 64, MOST_SKIPPED = 64, MOST_PATH = 4096, BLOCK_BYTES = 512 };

struct orders {
    char *arg[MOST_WORDS + 1], *env[MOST_WORDS + 1];  /* NULL at the end */
    char *skip[MOST_SKIPPED];                          /* folders of which no change counts */
    gid_t group[MOST_GROUPS];
    int args, envs, skips, groups;
    uid_t uid;
    gid_t gid;
    const char *cwd, *hostname;
    const char *layer;    /* the options of the tmpfs that the command writes to */
    const char *network;  /* "ADDRESS MASK GATEWAY"; NULL: the loopback alone */
};

/* orders.c */
void orders_read(struct orders *orders, const char *path);

/* network.c */
void loopback_up(void);
void network_up(const char *words);

/* changes.c */
/* Write what is in the folder `upper` to the device as a tar stream; gives its size in bytes, and the members. */
long long changes_write(int device, int upper, const struct orders *orders, long long *members);

/* main.c */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
