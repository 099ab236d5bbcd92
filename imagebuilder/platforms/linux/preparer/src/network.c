/* The loopback, and where the step asks for it the one card, by numbers that the host knows. */
#include "prepare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void up(int fd, const char *name)
{
    struct ifreq request = {0};

    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (!ioctl(fd, SIOCGIFFLAGS, &request)) {
        request.ifr_flags |= IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
}

void loopback_up(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    up(fd, "lo");
    close(fd);
}

static struct sockaddr address(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr any;

    inet_pton(AF_INET, text, &in.sin_addr);
    memcpy(&any, &in, sizeof any);
    return any;
}

void network_up(const char *words)
{
    char own[16], mask[16], gateway[16];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "eth0"};
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};

    if (sscanf(words, "%15s %15s %15s", own, mask, gateway) != 3)
        fail("the orders hold '%s' where a network belongs", words);
    request.ifr_addr = address(own);
    if (ioctl(fd, SIOCSIFADDR, &request))
        fail("cannot set the address of the network card: %s", strerror(errno));
    request.ifr_netmask = address(mask);
    ioctl(fd, SIOCSIFNETMASK, &request);
    up(fd, "eth0");
    route.rt_dst = route.rt_genmask = address("0.0.0.0");
    route.rt_gateway = address(gateway);
    if (ioctl(fd, SIOCADDRT, &route))
        fail("cannot set the way out of the network: %s", strerror(errno));
    close(fd);
}
