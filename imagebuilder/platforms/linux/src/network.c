/* The loopback and the first Ethernet interface, by ioctl: IPv4 only, three calls and a route. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_INTERFACES = 32 };
static const char NAMES[] = "/etc/resolv.conf", NAMES_ASIDE[] = "/dev/resolv.conf";

/* One for all calls, and never closed: closing is work for the kernel, and more code of it that runs once. */
static int ip_socket(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd;
}

static bool raise_flag(int fd, struct ifreq *request)
{
    if (ioctl(fd, SIOCGIFFLAGS, request))
        return false;
    request->ifr_flags |= IFF_UP;
    return !ioctl(fd, SIOCSIFFLAGS, request);
}

void network_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = ip_socket();

    if (fd < 0)  /* a kernel without network is none of init's business as long as nobody asks for it */
        return;
    if (!raise_flag(fd, &request))
        FAIL("cannot bring the loopback up: ", REASON);
}

/* Find the Ethernet interface with the lowest number; its name stays in request. */
bool interface_find(int fd, struct ifreq *request, uint8_t *mac)
{
    for (int index = 1; index <= MOST_INTERFACES; index++) {
        *request = (struct ifreq){.ifr_ifindex = index};
        if (ioctl(fd, SIOCGIFNAME, request) || ioctl(fd, SIOCGIFHWADDR, request))
            continue;
        if (request->ifr_hwaddr.sa_family == ARPHRD_ETHER) {
            memcpy(mac, request->ifr_hwaddr.sa_data, MAC_BYTES);
            return true;
        }
    }
    return false;
}

static struct sockaddr socket_address(uint32_t address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};
    struct sockaddr result;
    memcpy(&result, &in, sizeof result);
    return result;
}

static void route_add(int fd, char *interface, uint32_t to, uint32_t gateway)
{
    struct rtentry route = {
        .rt_dst = socket_address(to),
        .rt_genmask = socket_address(to),  /* nothing fixed for 0.0.0.0; see below for a host */
        .rt_gateway = socket_address(gateway),
        .rt_flags = (unsigned short)(RTF_UP | (gateway ? RTF_GATEWAY : RTF_HOST)),
        .rt_dev = interface,
    };
    if (!gateway)
        route.rt_genmask = socket_address(UINT32_MAX);
    if (ioctl(fd, SIOCADDRT, &route) && errno != EEXIST)
        FAIL("cannot add the route to ", address_text(gateway ? gateway : to).s, ": ", REASON);
}

static void interface_set(int fd, struct ifreq *request, const struct lease *lease)
{
    request->ifr_addr = socket_address(lease->address);
    if (ioctl(fd, SIOCSIFADDR, request))
        FAIL("cannot give ", request->ifr_name, " the address ", address_text(lease->address).s, ": ", REASON);
    request->ifr_netmask = socket_address(lease->mask);
    if (lease->mask && ioctl(fd, SIOCSIFNETMASK, request))
        FAIL("cannot give ", request->ifr_name, " the mask ", address_text(lease->mask).s, ": ", REASON);
    request->ifr_mtu = lease->mtu;
    if (lease->mtu)
        ioctl(fd, SIOCSIFMTU, request);  /* a driver may refuse: the default works nearly everywhere */
    if (!raise_flag(fd, request))
        FAIL("cannot bring ", request->ifr_name, " up: ", REASON);
    if (lease->gateway && (lease->gateway ^ lease->address) & lease->mask)
        route_add(fd, request->ifr_name, lease->gateway, 0);  /* as clouds do that give a /32 */
    if (lease->gateway)
        route_add(fd, request->ifr_name, 0, lease->gateway);
}

/* Whether a file has this content; one that is not there has none. */
static bool file_holds(const char *path, const struct text *content)
{
    char found[sizeof content->s];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, found, sizeof found);

    if (fd >= 0)
        close(fd);
    return size == (ssize_t)content->used && !memcmp(found, content->s, content->used);
}

static bool names_replace(const struct text *text)
{
    mkdir("/etc", 0755);
    unlink(NAMES);  /* it may be a link to nowhere */
    if (file_write(NAMES, text->s, O_CREAT | O_TRUNC))
        return true;
    /* A root that cannot be written: another file is laid over the one that is there. */
    return errno == EROFS && file_write(NAMES_ASIDE, text->s, O_CREAT | O_TRUNC) &&
           !mount(NAMES_ASIDE, NAMES, NULL, MS_BIND, NULL);
}

/* The image's file is that of QEMU's user network: there, nothing is left to write. */
static void names_write(const struct lease *lease)
{
    struct text text = {0};

    for (int i = 0; i < lease->dns_count; i++)
        text_join(&text, "nameserver ", address_text(lease->dns[i]).s, "\n", NULL);
    if (!file_holds(NAMES, &text) && !names_replace(&text))
        SAY("cannot write ", NAMES, ", so no names will be resolved: ", REASON);
}

void network_up(const char *ip)
{
    struct lease lease;
    struct ifreq request;
    uint8_t mac[MAC_BYTES];
    bool ask = !strcmp(ip, "dhcp");
    int fd = ip_socket();

    if (fd < 0)
        FAIL("ib.ip=", ip, " asks for a network, and the kernel has none: ", REASON);
    if (!ask && !lease_read(&lease, ip))
        FAIL("ib.ip=", ip, " is neither 'dhcp' nor ADDRESS/PREFIX,GATEWAY,DNS");
    if (!interface_find(fd, &request, mac))
        FAIL("ib.ip=", ip, " asks for a network, and there is no Ethernet interface");
    if (ask) {
        if (!raise_flag(fd, &request))
            FAIL("cannot bring ", request.ifr_name, " up: ", REASON);
        dhcp_ask(request.ifr_name, mac, &lease);
    }
    interface_set(fd, &request, &lease);
    names_write(&lease);
}
