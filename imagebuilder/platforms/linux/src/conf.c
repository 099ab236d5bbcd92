/* Reads /init.conf in place: no memory is allocated, the words stay where they were read. */
#include "init.h"

#include <string.h>

typedef const char *take(struct conf *conf, char *value);  /* NULL, or what is wrong with the value */

static const char NOT_A_NUMBER[] = "is not a number that fits", TOO_MANY[] = "is one too many";

/* Cut the first word off; NULL when there is none, and then there is none behind it either. */
static char *word(char **rest)
{
    char *begin = *rest, *space;

    if (!begin || !*begin)
        return NULL;
    space = strchr(begin, ' ');
    if (space)
        *space = '\0';
    *rest = space && *begin ? space + 1 : NULL;
    return *begin ? begin : NULL;
}

static const char *push(char **list, int *used, int most, char *value)
{
    if (*used == most)
        return TOO_MANY;
    list[(*used)++] = value;
    return NULL;
}

static const char *id(unsigned *number, const char *value)
{
    unsigned long long n;
    if (!number_read(value, UINT32_MAX - 1, &n))  /* the last one means "leave it" to the kernel */
        return NOT_A_NUMBER;
    *number = (unsigned)n;
    return NULL;
}

static const char *take_arg(struct conf *c, char *value)
{
    if (!c->args && *value != '/')
        return "is no absolute path, and the first word is the path of the command";
    return push(c->arg, &c->args, MOST_WORDS, value);
}

static const char *take_env(struct conf *c, char *value)
{
    if (*value == '=' || !strchr(value, '='))
        return "is not NAME=VALUE";
    return push(c->env, &c->envs, MOST_WORDS, value);
}

static const char *take_uid(struct conf *c, char *value) { return id(&c->uid, value); }
static const char *take_gid(struct conf *c, char *value) { return id(&c->gid, value); }

static const char *take_groups(struct conf *c, char *value)
{
    for (c->groups = 0; value; c->groups++) {
        char *comma = strchr(value, ',');
        const char *wrong;
        if (comma)
            *comma++ = '\0';
        if (c->groups == MOST_GROUPS)
            return TOO_MANY;
        if ((wrong = id(&c->group[c->groups], value)))
            return wrong;
        value = comma;
    }
    return NULL;
}

/* Numbers of linux/capability.h, as they stand in /proc/PID/status. */
static const char *take_capabilities(struct conf *c, char *value)
{
    while (value) {
        char *comma = strchr(value, ',');
        unsigned long long number;
        if (comma)
            *comma++ = '\0';
        if (!number_read(value, 63, &number))
            return NOT_A_NUMBER;
        c->capabilities |= UINT64_C(1) << number;
        value = comma;
    }
    return NULL;
}

static const char *take_cwd(struct conf *c, char *value)
{
    c->cwd = value;
    return *value == '/' ? NULL : "is no absolute path";
}

static const char *take_hostname(struct conf *c, char *value)
{
    c->hostname = value;
    return *value && strlen(value) <= 64 ? NULL : "is not a name of 1 to 64 bytes";
}

static const char *take_network(struct conf *c, char *value)
{
    c->no_network = true;
    return strcmp(value, "none") ? "is not 'none'" : NULL;
}

static const char *take_listen(struct conf *c, char *value)
{
    c->listen_signal = true;
    return strcmp(value, "signal") ? "is not 'signal'" : NULL;
}

static const char *take_ahead(struct conf *c, char *value)
{
    if (c->aheads == MOST_LINES)
        return TOO_MANY;
    c->ahead[c->aheads++] = (struct ahead){value, c->parts};
    return NULL;
}

static bool page(uint16_t *number, const char *value)
{
    unsigned long long n;
    if (!value || !number_read(value, UINT16_MAX, &n))
        return false;
    *number = (uint16_t)n;
    return true;
}

static const char *take_part(struct conf *c, char *value)
{
    struct part *part = &c->part[c->parts];

    if (c->parts == MOST_PARTS)
        return TOO_MANY;
    if (!c->aheads || !page(&part->first, word(&value)) || !page(&part->count, word(&value)) || !part->count || value)
        return "is not FIRST COUNT of a file";
    c->ahead[c->aheads - 1].end_part = ++c->parts;
    return NULL;
}

static const char *take_module(struct conf *c, char *value)
{
    return push(c->module, &c->modules, MOST_LINES, value);
}

static const char *take_mount(struct conf *c, char *value)
{
    struct mount *m = &c->mount[c->mounts];

    if (c->mounts == MOST_LINES)
        return TOO_MANY;
    m->type = word(&value);
    m->target = word(&value);
    m->options = word(&value);
    if (!m->options || value || *m->target != '/')
        return "is not TYPE TARGET OPTIONS";
    c->mounts++;
    return NULL;
}

static const char *take_copy(struct conf *c, char *value)
{
    return *value == '/' ? push(c->copy, &c->copies, MOST_LINES, value) : "is no absolute path";
}

static const char *take_overlay(struct conf *c, char *value)
{
    size_t digits = strspn(value, "0123456789");
    bool is_size = digits && (!value[digits] || (strchr("kKmMgG%", value[digits]) && !value[digits + 1]));

    c->overlay = is_size ? value : "";
    return is_size || !strcmp(value, "yes") ? NULL : "is neither a size nor 'yes'";
}

static const struct { const char *name; int resource; } LIMITS[] = {
    {"as", RLIMIT_AS}, {"core", RLIMIT_CORE}, {"cpu", RLIMIT_CPU}, {"data", RLIMIT_DATA}, {"fsize", RLIMIT_FSIZE},
    {"locks", RLIMIT_LOCKS}, {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"rss", RLIMIT_RSS}, {"rtprio", RLIMIT_RTPRIO},
    {"rttime", RLIMIT_RTTIME}, {"sigpending", RLIMIT_SIGPENDING}, {"stack", RLIMIT_STACK},
};

static bool limit_value(rlim_t *limit, const char *value)
{
    unsigned long long n = RLIM_INFINITY;
    if (!value || (strcmp(value, "unlimited") && !number_read(value, RLIM_INFINITY - 1, &n)))
        return false;
    *limit = n;
    return true;
}

static const char *take_limit(struct conf *c, char *value)
{
    struct limit *limit = &c->limit[c->limits];
    char *name = word(&value);

    if (c->limits == RLIM_NLIMITS)
        return TOO_MANY;
    limit->name = NULL;
    for (size_t i = 0; name && i < sizeof LIMITS / sizeof *LIMITS; i++)
        if (!strcmp(name, LIMITS[i].name)) {
            limit->name = LIMITS[i].name;
            limit->resource = LIMITS[i].resource;
        }
    if (!limit->name || !limit_value(&limit->value.rlim_cur, word(&value)) ||
        !limit_value(&limit->value.rlim_max, word(&value)) || value)
        return "is not NAME SOFT HARD";
    c->limits++;
    return NULL;
}

static const char *take_sysctl(struct conf *c, char *value)
{
    struct sysctl *s = &c->sysctl[c->sysctls];

    if (c->sysctls == MOST_LINES)
        return TOO_MANY;
    s->path = word(&value);
    s->value = value;
    if (!s->path || !s->value)
        return "is not PATH VALUE";
    c->sysctls++;
    return NULL;
}

static const char *take_stop(struct conf *c, char *value)
{
    char *number = word(&value), *grace = word(&value);
    unsigned long long n, ms;

    if (!grace || value || !number_read(number, 64, &n) || !n || !number_read(grace, INT32_MAX, &ms))
        return "is not SIGNAL GRACE_MS";
    c->stop_signal = (int)n;
    c->grace_ms = (int)ms;
    return NULL;
}

static struct helper *last_helper(struct conf *c)
{
    return c->helpers ? &c->helper[c->helpers - 1] : NULL;
}

static const char NO_HELPER[] = "stands before any line 'helper'";

static const char *take_helper(struct conf *c, char *value)
{
    if (c->helpers == MOST_HELPERS)
        return TOO_MANY;
    c->helper[c->helpers++] = (struct helper){.name = value, .limit_ms = 30000};
    return *value ? NULL : "is no name";
}

static const char *take_helper_arg(struct conf *c, char *value)
{
    struct helper *h = last_helper(c);

    if (!h)
        return NO_HELPER;
    if (!h->args && *value != '/')
        return "is no absolute path, and the first word is the path of the command";
    return push(h->arg, &h->args, MOST_HELPER_WORDS, value);
}

static const char *take_helper_env(struct conf *c, char *value)
{
    struct helper *h = last_helper(c);

    if (!h)
        return NO_HELPER;
    if (*value == '=' || !strchr(value, '='))
        return "is not NAME=VALUE";
    return push(h->env, &h->envs, MOST_HELPER_WORDS, value);
}

static const char *take_helper_user(struct conf *c, char *value)
{
    struct helper *h = last_helper(c);
    char *uid = word(&value), *gid = word(&value);

    if (!h)
        return NO_HELPER;
    if (!gid || value || id(&h->uid, uid) || id(&h->gid, gid))
        return "is not UID GID";
    return NULL;
}

static const char *take_helper_restart(struct conf *c, char *value)
{
    struct helper *h = last_helper(c);

    if (!h)
        return NO_HELPER;
    h->restart = true;
    return strcmp(value, "on-failure") ? "is not 'on-failure'" : NULL;
}

/* KIND TEXT LIMIT_MS, where a text may hold spaces: it is what stands between the first and the last. */
static const char *take_helper_ready(struct conf *c, char *value)
{
    static const char *const KINDS[] = {[AWAITED_PORT] = "port", [AWAITED_FILE] = "file", [AWAITED_LINE] = "line"};
    struct helper *h = last_helper(c);
    char *kind = word(&value), *limit = value ? strrchr(value, ' ') : NULL;
    unsigned long long port = 1, ms;

    if (!h)
        return NO_HELPER;
    if (!limit || limit == value || !number_read(limit + 1, INT32_MAX, &ms))
        return "is not KIND TEXT LIMIT_MS";
    *limit = '\0';
    h->text = value;
    h->limit_ms = (int)ms;
    for (int i = AWAITED_PORT; i <= AWAITED_LINE; i++)
        if (!strcmp(kind, KINDS[i]))
            h->awaited = (enum awaited)i;
    if (h->awaited == AWAITED_PORT && (!number_read(value, UINT16_MAX, &port) || !port))
        return NOT_A_NUMBER;
    h->port = (int)port;
    return h->awaited ? NULL : "is none of 'port', 'file' and 'line'";
}

static const struct { const char *name; take *take; } KEYS[] = {
    {"arg", take_arg}, {"env", take_env}, {"uid", take_uid}, {"gid", take_gid}, {"groups", take_groups},
    {"capabilities", take_capabilities},
    {"cwd", take_cwd}, {"hostname", take_hostname}, {"network", take_network}, {"module", take_module},
    {"listen", take_listen},
    {"ahead", take_ahead}, {"part", take_part}, {"mount", take_mount},
    {"copy", take_copy},
    {"overlay", take_overlay}, {"limit", take_limit}, {"sysctl", take_sysctl}, {"stop", take_stop},
    {"helper", take_helper}, {"helper-arg", take_helper_arg}, {"helper-env", take_helper_env},
    {"helper-user", take_helper_user}, {"helper-restart", take_helper_restart}, {"helper-ready", take_helper_ready},
};

/* Undo the escapes in place; false for one that there is not. */
static bool unescape(char *s)
{
    char *to = s;

    for (; *s; s++) {
        if (*s == '\\' && s[1] == 'n')
            s++, *to++ = '\n';
        else if (*s == '\\' && s[1] == '\\')
            s++, *to++ = '\\';
        else if (*s == '\\')
            return false;
        else
            *to++ = *s;
    }
    *to = '\0';
    return true;
}

static take *key_find(const char *name)
{
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!strcmp(name, KEYS[i].name))
            return KEYS[i].take;
    return NULL;
}

static bool line_read(struct conf *conf, char *line, struct text *why)
{
    char *value = strchr(line, ' ');
    const char *wrong;
    take *reader;

    if (value)
        *value++ = '\0';
    if (!(reader = key_find(line)))
        wrong = "is no key";
    else if (!value)
        wrong = "has no value";
    else if (!unescape(value))
        wrong = "has a '\\' that stands before neither 'n' nor '\\'";
    else if (!(wrong = reader(conf, value)))
        return true;
    text_join(why, "'", line, value ? " " : "", value ? value : "", "' ", wrong, NULL);
    return false;
}

bool conf_read(struct conf *conf, char *data, size_t size, struct text *why)
{
    char *line = data, *end;
    int number = 1;

    memset(conf, 0, offsetof(struct conf, helper));  /* a helper is set when its line comes */
    conf->cwd = "/", conf->hostname = "localhost", conf->stop_signal = 15, conf->grace_ms = 5000;
    if (memchr(data, '\0', size)) {
        text_add(why, "there is a NUL byte in it");
        return false;
    }
    for (; line < data + size; line = end + 1, number++) {
        if (!(end = strchr(line, '\n')))
            end = data + size;
        *end = '\0';
        if (!*line || *line == '#')
            continue;
        text_join(why, "line ", DIGITS(number), ": ", NULL);
        if (!line_read(conf, line, why))
            return false;
        why->used = 0;
        why->s[0] = '\0';
    }
    if (!conf->args)
        text_add(why, "no line 'arg' says what to start");
    for (int i = 0; i < conf->helpers && !why->used; i++)
        if (!conf->helper[i].args)
            text_join(why, "no line 'helper-arg' says what to start as ", conf->helper[i].name, NULL);
    return !why->used;
}
