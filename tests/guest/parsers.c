/* The parsers of init as an ordinary program, for the tests: each input on stdin is four bytes of length and the bytes;
 * each answer on stdout likewise. An answer is a list of words, each ended by a NUL. */
#include "dhcp.c" /* with its static functions */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char answer[1 << 18];
static size_t answered;

static void say(const char *word)
{
    size_t size = strlen(word) + 1;
    if (answered + size > sizeof answer)
        abort();
    memcpy(answer + answered, word, size);
    answered += size;
}

static void say_number(const char *name, long long number)
{
    say(name);
    say(DIGITS(number));
}

_Noreturn void fail(const char *first, ...) { fputs(first, stderr); abort(); }
void console_say(const char *first, ...) { (void)first; }

static void conf_answer(char *data, size_t size)
{
    static struct conf c;
    struct text why = {0};

    if (!conf_read(&c, data, size, &why)) {
        say("wrong");
        say(why.s);
        return;
    }
    for (int i = 0; i < c.args; i++) { say("arg"); say(c.arg[i]); }
    for (int i = 0; i < c.envs; i++) { say("env"); say(c.env[i]); }
    if (c.arg[c.args] || c.env[c.envs])
        abort();
    say_number("uid", c.uid);
    say_number("gid", c.gid);
    for (int i = 0; i < c.groups; i++) say_number("group", c.group[i]);
    for (int i = 0; i < 64; i++)
        if (c.capabilities >> i & 1) say_number("capability", i);
    say("cwd"); say(c.cwd);
    say("hostname"); say(c.hostname);
    if (c.no_network)
        say("no network");
    if (c.listen_signal)
        say("listen signal");
    for (int i = 0; i < c.modules; i++) { say("module"); say(c.module[i]); }
    for (int i = 0, part = 0; i < c.aheads; i++) {
        say("ahead"); say(c.ahead[i].path);
        for (; part < c.ahead[i].end_part; part++) { say("part"); say(DIGITS(c.part[part].first)); say(DIGITS(c.part[part].count)); }
    }
    for (int i = 0; i < c.mounts; i++) { say("mount"); say(c.mount[i].type); say(c.mount[i].target); say(c.mount[i].options); }
    for (int i = 0; i < c.copies; i++) { say("copy"); say(c.copy[i]); }
    if (c.overlay) { say("overlay"); say(*c.overlay ? c.overlay : "yes"); }
    for (int i = 0; i < c.limits; i++) {
        say("limit"); say(c.limit[i].name);
        char number[32];
        for (int hard = 0; hard < 2; hard++) {
            rlim_t value = hard ? c.limit[i].value.rlim_max : c.limit[i].value.rlim_cur;
            snprintf(number, sizeof number, "%llu", (unsigned long long)value);
            say(value == RLIM_INFINITY ? "unlimited" : number);
        }
    }
    for (int i = 0; i < c.sysctls; i++) { say("sysctl"); say(c.sysctl[i].path); say(c.sysctl[i].value); }
    say_number("stop", c.stop_signal);
    say_number("grace", c.grace_ms);
    for (int i = 0; i < c.helpers; i++) {
        const struct helper *h = &c.helper[i];
        say("helper"); say(h->name);
        say_number("uid", h->uid);
        say_number("gid", h->gid);
        if (h->restart)
            say("restart");
        if (h->awaited) {
            static const char *const KINDS[] = {"", "port", "file", "line"};
            say(KINDS[h->awaited]); say(h->awaited == AWAITED_PORT ? DIGITS(h->port) : h->text); say(DIGITS(h->limit_ms));
        }
        for (int j = 0; j < h->envs; j++) { say("env"); say(h->env[j]); }
        for (int j = 0; j < h->args; j++) { say("arg"); say(h->arg[j]); }
        if (h->arg[h->args] || h->env[h->envs])
            abort();
    }
}

static void lease_answer(const struct lease *lease)
{
    say(address_text(lease->address).s);
    say(address_text(lease->mask).s);
    say(address_text(lease->gateway).s);
    say(DIGITS(lease->mtu));
    for (int i = 0; i < lease->dns_count; i++)
        say(address_text(lease->dns[i]).s);
}

static void words_answer(char *data, size_t size)
{
    struct boot boot;
    struct lease lease;

    (void)size;
    boot_read(&boot, data);
    say(boot.hostname ? boot.hostname : "");
    say(boot.channel ? boot.channel : "");
    say(boot.listen ? "listen" : "");
    say(boot.learn ? boot.learn : boot.more ? boot.more : boot.given ? "given" : "");
    if (boot.ip && lease_read(&lease, boot.ip))
        lease_answer(&lease);
}

static void dhcp_answer(char *data, size_t size)
{
    static const uint8_t mac[MAC_BYTES] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    uint32_t xid;
    struct lease lease;

    memcpy(&xid, "\1\2\3\4", 4);
    enum dhcp_type type = dhcp_read((uint8_t *)data, size, xid, mac, &lease);
    say(DIGITS(type));
    if (type == DHCP_OFFER || type == DHCP_ACK)
        lease_answer(&lease);
}

static void ask_answer(char *data, size_t size)
{
    static const uint8_t mac[MAC_BYTES] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    struct lease lease = {0};
    uint32_t xid;

    (void)data, (void)size;
    memcpy(&xid, "\1\2\3\4", 4);
    memcpy(&lease.address, "\12\0\2\17", 4);
    memcpy(&lease.server, "\12\0\2\2", 4);
    answered = dhcp_write((uint8_t *)answer, size ? DHCP_REQUEST : DHCP_DISCOVER, xid, mac, &lease);
}

/* What is taken of the packets that wait on the network (each after two bytes of its length) as the answer to the
 * question, when the server 10.0.2.2 was chosen. */
static void wait_answer(char *data, size_t size)
{
    static const uint8_t mac[MAC_BYTES] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    struct question question = {(enum dhcp_type)*data, 0, mac};
    struct lease chosen = {0};
    uint16_t length;
    int ends[2];

    memcpy(&question.xid, "\1\2\3\4", 4);
    memcpy(&chosen.server, "\12\0\2\2", 4);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends))
        abort();
    for (size_t at = 1; at < size; at += 2 + length) {
        memcpy(&length, data + at, 2);
        if (send(ends[1], data + at + 2, length, 0) != length)
            abort();
    }
    say(DIGITS(answer_wait(ends[0], &question, 100, &chosen)));
    say(address_text(chosen.server).s);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*answer)(char *data, size_t size); } KINDS[] = {
        {"conf", conf_answer}, {"words", words_answer}, {"dhcp", dhcp_answer}, {"ask", ask_answer},
        {"wait", wait_answer},
    };
    uint32_t size;

    for (size_t i = 0; argc == 2 && i < sizeof KINDS / sizeof *KINDS; i++)
        while (!strcmp(argv[1], KINDS[i].name) && fread(&size, sizeof size, 1, stdin) == 1) {
            char *data = malloc(size + 1);  /* of the exact size, so that a byte too far is seen */
            if (!data || fread(data, 1, size, stdin) != size)
                abort();
            data[size] = '\0';
            if (*argv[1] == 'd')
                data = realloc(data, size ? size : 1);
            answered = 0;
            KINDS[i].answer(data, size);
            fwrite(&answered, 4, 1, stdout);
            fwrite(answer, 1, answered, stdout);
            free(data);
        }
    return 0;
}
