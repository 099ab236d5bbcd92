/* A small DHCP client (RFC 2131, options of RFC 2132): discover, request, and nothing else. */
#include "init.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SERVER_PORT = 67, CLIENT_PORT = 68,
    BOOT_REQUEST = 1, BOOT_REPLY = 2, ETHERNET = 1,
    FIELDS_BYTES = 236, SERVER_NAME_AT = 44, SERVER_NAME_BYTES = 64, FILE_AT = 108, FILE_BYTES = 128,
    OPTIONS_AT = FIELDS_BYTES + 4,
    LEAST_SEND_BYTES = 300,  /* BOOTP relays drop what is shorter */
    FIRST_WAIT_MS = 10,      /* the link of a virtual machine may come up a moment later: ask again soon */
    MOST_WAIT_MS = 4000,
    REQUESTS = 6,            /* unanswered requests before it begins again */
    PATIENCE_MS = 60000,
};
enum option {
    PAD = 0, NETMASK = 1, ROUTER = 3, DNS = 6, MTU = 26, ADDRESS = 50, OVERLOAD = 52, TYPE = 53, SERVER = 54, WANTED = 55,
    MAX_BYTES = 57, CLIENT = 61, END = 255,
};
static const uint8_t COOKIE[4] = {99, 130, 83, 99};

static uint8_t *option_add(uint8_t *to, enum option option, const void *value, size_t size)
{
    *to++ = (uint8_t)option;
    *to++ = (uint8_t)size;
    memcpy(to, value, size);
    return to + size;
}

size_t dhcp_write(uint8_t *packet, enum dhcp_type type, uint32_t xid, const uint8_t *mac, const struct lease *wanted)
{
    /* The flag 0x80 asks for a broadcast answer: without an address this socket hears no other. */
    static const uint8_t head[] = {BOOT_REQUEST, ETHERNET, MAC_BYTES}, asked[] = {NETMASK, ROUTER, DNS, MTU};
    uint8_t client[1 + MAC_BYTES] = {ETHERNET}, kind = (uint8_t)type, most[2] = {DHCP_PACKET_BYTES >> 8, (uint8_t)DHCP_PACKET_BYTES};
    uint8_t *to = packet + OPTIONS_AT;

    memset(packet, 0, LEAST_SEND_BYTES);
    memcpy(packet, head, sizeof head);
    memcpy(packet + 4, &xid, sizeof xid);
    packet[10] = 0x80;
    memcpy(packet + 28, mac, MAC_BYTES);
    memcpy(packet + FIELDS_BYTES, COOKIE, sizeof COOKIE);
    memcpy(client + 1, mac, MAC_BYTES);
    to = option_add(to, TYPE, &kind, 1);
    to = option_add(to, CLIENT, client, sizeof client);
    to = option_add(to, WANTED, asked, sizeof asked);
    to = option_add(to, MAX_BYTES, most, sizeof most);
    if (type == DHCP_REQUEST) {
        to = option_add(to, ADDRESS, &wanted->address, 4);
        to = option_add(to, SERVER, &wanted->server, 4);
    }
    *to++ = END;
    return to - packet > LEAST_SEND_BYTES ? (size_t)(to - packet) : LEAST_SEND_BYTES;
}

struct answer { struct lease lease; uint8_t type, overload; };

static void option_take(struct answer *answer, enum option option, const uint8_t *value, size_t size)
{
    struct lease *lease = &answer->lease;

    if (option == TYPE && size == 1)
        answer->type = *value;
    else if (option == OVERLOAD && size == 1)
        answer->overload = *value;
    else if (option == NETMASK && size == 4)
        memcpy(&lease->mask, value, 4);
    else if (option == SERVER && size == 4)
        memcpy(&lease->server, value, 4);
    else if (option == ROUTER && size >= 4)
        memcpy(&lease->gateway, value, 4);
    else if (option == MTU && size == 2)
        lease->mtu = value[0] << 8 | value[1];
    else if (option == DNS)
        for (lease->dns_count = 0; lease->dns_count < MOST_DNS && size >= 4; value += 4, size -= 4)
            memcpy(&lease->dns[lease->dns_count++], value, 4);
}

/* Walk the options; false when one goes beyond the end. */
static bool options_read(struct answer *answer, const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at != END) {
        enum option option = *at++;
        if (option == PAD)
            continue;
        if (at == end || *at > end - at - 1)
            return false;
        option_take(answer, option, at + 1, *at);
        at += 1 + *at;
    }
    return true;
}

/* 0.0.0.0/8, 127.0.0.0/8, multicast and above cannot be a host's address. */
static bool address_is_usable(uint32_t address)
{
    unsigned first = ntohl(address) >> 24;
    return first && first != 127 && first < 224;
}

static bool mask_is_usable(uint32_t mask)
{
    uint32_t hosts = ~ntohl(mask);
    return mask && !(hosts & (hosts + 1));
}

enum dhcp_type dhcp_read(const uint8_t *packet, size_t size, uint32_t xid, const uint8_t *mac, struct lease *lease)
{
    struct answer answer = {0};

    if (size < OPTIONS_AT || packet[0] != BOOT_REPLY || packet[1] != ETHERNET || packet[2] != MAC_BYTES ||
        memcmp(packet + 4, &xid, sizeof xid) || memcmp(packet + 28, mac, MAC_BYTES) ||
        memcmp(packet + FIELDS_BYTES, COOKIE, sizeof COOKIE) ||
        !options_read(&answer, packet + OPTIONS_AT, packet + size))
        return DHCP_NONE;
    if (answer.overload & 1 && !options_read(&answer, packet + FILE_AT, packet + FILE_AT + FILE_BYTES))
        return DHCP_NONE;
    if (answer.overload & 2 && !options_read(&answer, packet + SERVER_NAME_AT, packet + SERVER_NAME_AT + SERVER_NAME_BYTES))
        return DHCP_NONE;
    memcpy(&answer.lease.address, packet + 16, 4);
    if (answer.type == DHCP_NAK)
        return DHCP_NAK;
    if ((answer.type != DHCP_OFFER && answer.type != DHCP_ACK) || !answer.lease.server ||
        !address_is_usable(answer.lease.address))
        return DHCP_NONE;
    if (!mask_is_usable(answer.lease.mask))
        answer.lease.mask = 0;  /* the kernel then takes that of the address's class */
    if (answer.lease.mtu < 576)  /* the least that RFC 2132 lets a server say is 68: nothing works with that */
        answer.lease.mtu = 0;
    *lease = answer.lease;
    return (enum dhcp_type)answer.type;
}

static int dhcp_socket(const char *interface)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(CLIENT_PORT)};
    int one = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface) + 1) ||
        setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one) ||
        bind(fd, (struct sockaddr *)&here, sizeof here))
        FAIL("cannot ask for an address by DHCP: ", REASON);
    return fd;
}

struct question { enum dhcp_type type; uint32_t xid; const uint8_t *mac; };

/* A second server may answer late, and the first one twice: only what fits the question counts. */
static bool fits(const struct question *q, enum dhcp_type answer, const struct lease *lease, const struct lease *chosen)
{
    if (q->type == DHCP_DISCOVER)
        return answer == DHCP_OFFER;
    return answer == DHCP_NAK || (answer == DHCP_ACK && lease->server == chosen->server);
}

/* Wait for an answer; DHCP_NONE when none came in time. */
static enum dhcp_type answer_wait(int fd, const struct question *q, int wait_ms, struct lease *chosen)
{
    static uint8_t packet[DHCP_PACKET_BYTES];
    long long until_ns = now_ns() + (long long)wait_ms * NS_PER_MS;

    for (long long left_ns; (left_ns = until_ns - now_ns()) > 0;) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        struct lease lease;
        if (poll(&entry, 1, (int)(left_ns / NS_PER_MS) + 1) <= 0)
            break;
        ssize_t size = recv(fd, packet, sizeof packet, 0);
        enum dhcp_type answer = size > 0 ? dhcp_read(packet, (size_t)size, q->xid, q->mac, &lease) : DHCP_NONE;
        if (answer == DHCP_NONE || !fits(q, answer, &lease, chosen))
            continue;
        if (answer != DHCP_NAK)
            *chosen = lease;
        return answer;
    }
    return DHCP_NONE;
}

static uint32_t dhcp_xid(const uint8_t *mac)
{
    /* Machines that start at one moment must differ: the address of the card does. */
    uint32_t xid = (uint32_t)now_ns() * 2654435761u;
    for (int i = 0; i < MAC_BYTES; i++)
        xid = (xid ^ mac[i]) * 16777619u;
    return xid;
}

static void question_send(int fd, const struct question *q, const struct lease *chosen)
{
    static uint8_t packet[DHCP_PACKET_BYTES];
    struct sockaddr_in all = {.sin_family = AF_INET, .sin_port = htons(SERVER_PORT), .sin_addr.s_addr = INADDR_BROADCAST};
    size_t size = dhcp_write(packet, q->type, q->xid, q->mac, chosen);

    sendto(fd, packet, size, 0, (struct sockaddr *)&all, sizeof all);  /* what fails now is sent again soon */
}

void dhcp_ask(const char *interface, const uint8_t *mac, struct lease *lease)
{
    struct question question = {DHCP_DISCOVER, dhcp_xid(mac), mac};
    long long until_ns = now_ns() + (long long)PATIENCE_MS * NS_PER_MS;
    int fd = dhcp_socket(interface), wait_ms = FIRST_WAIT_MS, sent = 0;

    while (now_ns() < until_ns) {
        question_send(fd, &question, lease);
        /* up to a quarter more, by chance: a thousand that start together shall not ask together */
        enum dhcp_type answer = answer_wait(fd, &question, wait_ms + (int)(question.xid >> 8) % (wait_ms / 4 + 1), lease);
        if (answer == DHCP_ACK) {
            close(fd);
            return;
        }
        wait_ms = wait_ms * 2 < MOST_WAIT_MS ? wait_ms * 2 : MOST_WAIT_MS;
        if (answer == DHCP_OFFER) {
            question.type = DHCP_REQUEST;
            wait_ms = FIRST_WAIT_MS * 4;
            sent = 0;
        } else if (answer == DHCP_NAK || ++sent == REQUESTS) {
            question.type = DHCP_DISCOVER;
            question.xid++;
            sent = 0;
        }
    }
    FAIL("no DHCP server gave ", interface, " an address within ", DIGITS(PATIENCE_MS / MS_PER_S), " seconds");
}
