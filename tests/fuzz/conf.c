/* /init.conf, as the builder writes it: whatever stands in it, what was read is whole, or why says what is wrong. */
#include "target.h"

static void check(const struct conf *c)
{
    MUST(c->args > 0 && c->args <= MOST_WORDS && !c->arg[c->args] && *c->arg[0] == '/');
    MUST(c->envs <= MOST_WORDS && !c->env[c->envs]);
    for (int i = 0; i < c->envs; i++)
        MUST(strchr(c->env[i], '='));
    for (int i = 0; i < c->mounts; i++)
        MUST(*c->mount[i].type && *c->mount[i].target == '/' && *c->mount[i].options);
    for (int i = 0; i < c->copies; i++)
        MUST(*c->copy[i] == '/');
    for (int i = 0; i < c->sysctls; i++)
        MUST(*c->sysctl[i].path && c->sysctl[i].value);
    for (int i = 0, part = 0; i < c->aheads; part = c->ahead[i++].end_part)
        MUST(c->ahead[i].path && c->ahead[i].end_part >= part && c->ahead[i].end_part <= c->parts);
    for (int i = 0; i < c->parts; i++)
        MUST(c->part[i].count);
    for (int i = 0; i < c->limits; i++)
        MUST(c->limit[i].name);
    MUST(c->helpers >= 0 && c->helpers <= MOST_HELPERS);
    for (int i = 0; i < c->helpers; i++) {
        const struct helper *h = &c->helper[i];
        MUST(*h->name && h->args > 0 && !h->arg[h->args] && *h->arg[0] == '/' && !h->env[h->envs] && h->limit_ms >= 0);
        MUST(!h->awaited || *h->text);
        MUST(h->awaited != AWAITED_PORT || (h->port > 0 && h->port <= UINT16_MAX));
    }
    MUST(*c->cwd == '/' && *c->hostname && strlen(c->hostname) <= 64);
    MUST(c->stop_signal >= 1 && c->stop_signal <= 64 && c->grace_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf conf;
    char *copy = copy_of(data, size, 1);
    struct text why = {0};

    if (conf_read(&conf, copy, size, &why))
        check(&conf);
    else
        MUST(why.used && why.used == strlen(why.s));
    free(copy);
    return 0;
}
