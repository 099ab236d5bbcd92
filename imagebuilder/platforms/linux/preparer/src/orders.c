/* /init.conf: lines of a key and a value, in which \n is a line's end and \\ a backslash. */
#include "prepare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *unescaped(char *value)
{
    char *to = value;

    for (char *from = value; *from; from++)
        *to++ = *from == '\\' && from[1] ? (*++from == 'n' ? '\n' : *from) : *from;
    *to = '\0';
    return value;
}

static long long number(const char *value)
{
    char *end;
    long long found = strtoll(value, &end, 10);

    if (end == value || *end || found < 0 || found > 0xfffffffeLL)
        fail("the orders hold '%s' where a number belongs", value);
    return found;
}

static void add(char **list, int *count, int most, char *value)
{
    if (*count >= most)
        fail("the orders hold more than %d words of one kind", most);
    list[(*count)++] = value;
}

static void take(struct orders *o, const char *key, char *value)
{
    if (!strcmp(key, "arg"))
        add(o->arg, &o->args, MOST_WORDS, value);
    else if (!strcmp(key, "env"))
        add(o->env, &o->envs, MOST_WORDS, value);
    else if (!strcmp(key, "skip"))
        add(o->skip, &o->skips, MOST_SKIPPED, value);
    else if (!strcmp(key, "group") && o->groups < MOST_GROUPS)
        o->group[o->groups++] = (gid_t)number(value);
    else if (!strcmp(key, "uid"))
        o->uid = (uid_t)number(value);
    else if (!strcmp(key, "gid"))
        o->gid = (gid_t)number(value);
    else if (!strcmp(key, "cwd"))
        o->cwd = value;
    else if (!strcmp(key, "hostname"))
        o->hostname = value;
    else if (!strcmp(key, "layer"))
        o->layer = value;
    else if (!strcmp(key, "network"))
        o->network = value;
    else
        fail("the orders hold '%s', which is not known", key);
}

void orders_read(struct orders *orders, const char *path)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t size;

    if (!file)
        fail("cannot open %s: %s", path, strerror(errno));
    *orders = (struct orders){.cwd = "/", .hostname = "localhost", .layer = "mode=0755"};
    while ((size = getline(&line, &room, file)) > 0) {
        char *kept = strdup(line), *value = kept ? strchr(kept, ' ') : NULL;
        if (!value || kept[size - 1] != '\n')
            fail("the orders hold a line that is none");
        kept[size - 1] = '\0';
        *value++ = '\0';
        take(orders, kept, unescaped(value));
    }
    fclose(file);
    if (!orders->args)
        fail("the orders hold no command");
}
