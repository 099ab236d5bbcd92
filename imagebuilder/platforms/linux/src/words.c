/* The kernel's command line and the addresses in it. */
#include "init.h"

#include <arpa/inet.h>
#include <string.h>

static const char *after(const char *word, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(word, prefix, length) ? NULL : word + length;
}

static void word_read(struct boot *boot, const char *word)
{
    const char *ours = after(word, "ib."), *value;

    if (!ours)
        return;  /* most words are the kernel's: they are compared once */
    if ((value = after(ours, "ip=")))
        boot->ip = value;
    else if ((value = after(ours, "hostname=")))
        boot->hostname = value;
    else if ((value = after(ours, "channel=")))
        boot->channel = strcmp(value, "0") ? value : NULL;
    else if ((value = after(ours, "listen=")))
        boot->listen = *value == '1';
    else if ((value = after(ours, "given=")))
        boot->given = *value == '1';
    else if ((value = after(ours, "learn=")))
        boot->learn = value;
    else if ((value = after(ours, "more=")))
        boot->more = value;
}

void boot_add(struct boot *boot, char *words)
{
    for (char *word = words; word;) {
        char *next = strpbrk(word, " \n");
        if (next)
            *next++ = '\0';
        word_read(boot, word);
        word = next;
    }
}

void boot_read(struct boot *boot, char *cmdline)
{
    *boot = (struct boot){0};
    boot_add(boot, cmdline);
}

/* Read four numbers with points between them; gives what stands after, NULL when it is no address. */
static const char *address_read(const char *s, uint32_t *address)
{
    uint8_t part[4];

    for (int i = 0; i < 4; i++) {
        unsigned value = 0, count = 0;
        for (; *s >= '0' && *s <= '9' && count < 4; s++, count++)
            value = value * 10 + (unsigned)(*s - '0');
        if (!count || value > 255 || (i < 3 && *s++ != '.'))
            return NULL;
        part[i] = (uint8_t)value;
    }
    memcpy(address, part, sizeof part);
    return s;
}

static const char *prefix_read(const char *s, uint32_t *mask)
{
    unsigned bits = 0, count = 0;

    for (; *s >= '0' && *s <= '9' && count < 3; s++, count++)
        bits = bits * 10 + (unsigned)(*s - '0');
    if (!count || !bits || bits > 32)
        return NULL;
    *mask = htonl(UINT32_MAX << (32 - bits));
    return s;
}

bool lease_read(struct lease *lease, const char *s)
{
    *lease = (struct lease){0};
    if (!(s = address_read(s, &lease->address)) || *s++ != '/' || !(s = prefix_read(s, &lease->mask)))
        return false;
    if (*s == ',' && s[1] == ',')  /* no gateway, but name servers */
        s++;
    else if (*s == ',' && s[1] && !(s = address_read(s + 1, &lease->gateway)))
        return false;
    while (*s == ',' && s[1] && lease->dns_count < MOST_DNS)
        if (!(s = address_read(s + 1, &lease->dns[lease->dns_count++])))
            return false;
    return !*s || (*s == ',' && !s[1]);
}

struct digits address_text(uint32_t address)
{
    const uint8_t *part = (const uint8_t *)&address;
    struct digits result = digits(part[0]);

    for (int i = 1; i < 4; i++) {
        strcat(result.s, ".");
        strcat(result.s, DIGITS(part[i]));
    }
    return result;
}
