/* Another network card and address for a machine that has a network already, by netlink: its code in the kernel is
 * shorter than that of the ioctls, which know no prefix, and a clone has to be quick. All that can be done before is:
 * the old address is given up, and the sockets are opened, while the template still waits to be kept. */
#include "init.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* <linux/netlink.h> and <linux/rtnetlink.h>, which are not among the C library's headers. */
enum {
    NETLINK_ROUTE = 0, NLMSG_ERROR = 2, NLM_F_REQUEST = 1, NLM_F_CREATE = 0x400,
    RTM_NEWADDR = 20, RTM_NEWROUTE = 24,
    IFA_ADDRESS = 1, IFA_LOCAL = 2, RTA_OIF = 4, RTA_GATEWAY = 5,
    RT_TABLE_MAIN = 254, RTPROT_BOOT = 3, RTN_UNICAST = 1,
};
struct head { uint32_t size; uint16_t type, flags; uint32_t sequence, port; };
struct word { uint16_t size, type; uint32_t value; };  /* an attribute of four bytes */
struct new_address {
    struct head head;
    struct { uint8_t family, prefix, flags, scope; uint32_t index; } of;
    struct word local, address;
};
struct new_route {
    struct head head;
    struct { uint8_t family, to_bits, from_bits, tos, table, protocol, scope, type; uint32_t flags; } of;
    struct word gateway, interface;
};

static int netlink = -1;
static struct ifreq card;
static uint32_t card_index;

static struct word word(uint16_t type, uint32_t value)
{
    return (struct word){.size = sizeof(struct word), .type = type, .value = value};
}

static struct head head(uint16_t type, uint32_t size)
{
    return (struct head){.size = size, .type = type, .flags = NLM_F_REQUEST | NLM_F_CREATE};
}

/* Give up the address, and with it every route, if there is a network to change. */
void address_leave(void)
{
    const struct { uint16_t family, pad; uint32_t port, groups; } any = {.family = AF_NETLINK};
    struct ifreq none;
    uint8_t mac[MAC_BYTES];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || !interface_find(fd, &card, mac)) {
        close(fd);
        return;
    }
    none = card;
    if (ioctl(fd, SIOCGIFINDEX, &none))
        FAIL("cannot find the number of ", card.ifr_name, ": ", REASON);
    card_index = (uint32_t)none.ifr_ifindex;
    none.ifr_addr = (struct sockaddr){.sa_family = AF_INET};
    if (ioctl(fd, SIOCSIFADDR, &none) && errno != EADDRNOTAVAIL)
        FAIL("cannot take its address from ", card.ifr_name, ": ", REASON);
    close(fd);
    netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (netlink < 0 || bind(netlink, (struct sockaddr *)&any, sizeof any))
        FAIL("cannot open netlink: ", REASON);
}

static void card_change(const uint8_t *mac)
{
    card.ifr_hwaddr = (struct sockaddr){.sa_family = ARPHRD_ETHER};
    memcpy(card.ifr_hwaddr.sa_data, mac, MAC_BYTES);
    if (ioctl(netlink, SIOCSIFHWADDR, &card))
        FAIL("cannot change the MAC of ", card.ifr_name, ": ", REASON);
}

/* The kernel has done it when send returns; it answers only what it refuses. */
static void ask(const void *message, size_t size, const char *what)
{
    struct { struct head head; int32_t error; uint8_t more[128]; } answer;

    if (send(netlink, message, size, 0) != (ssize_t)size)
        FAIL("cannot ask for ", what, ": ", REASON);
    if (recv(netlink, &answer, sizeof answer, MSG_DONTWAIT) >= (ssize_t)sizeof answer.head + 4 &&
        answer.head.type == NLMSG_ERROR && answer.error)
        FAIL("cannot have ", what, ": ", strerror(-answer.error));
}

void address_change(const uint8_t *mac, const char *ip)
{
    struct lease lease;

    if (netlink < 0)
        FAIL("there is no network to change: the template has none");
    if (!lease_read(&lease, ip))
        FAIL(ip, " is not ADDRESS/PREFIX,GATEWAY");
    struct new_address address = {
        .head = head(RTM_NEWADDR, sizeof address),
        .of = {.family = AF_INET, .prefix = (uint8_t)__builtin_popcount(lease.mask), .index = card_index},
        .local = word(IFA_LOCAL, lease.address), .address = word(IFA_ADDRESS, lease.address),
    };
    struct new_route route = {
        .head = head(RTM_NEWROUTE, sizeof route),
        .of = {.family = AF_INET, .table = RT_TABLE_MAIN, .protocol = RTPROT_BOOT, .type = RTN_UNICAST},
        .gateway = word(RTA_GATEWAY, lease.gateway), .interface = word(RTA_OIF, card_index),
    };
    card_change(mac);
    ask(&address, sizeof address, "the address");
    if (lease.gateway)
        ask(&route, sizeof route, "the route");
    /* The socket stays open: to close it would be more work than all of this. */
}
