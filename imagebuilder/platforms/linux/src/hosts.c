/* The host's own name in /etc/hosts. The image's file has the name that the image gives; any other is added behind it. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20 };
static const char HOSTS[] = "/etc/hosts", HOSTS_ASIDE[] = "/dev/hosts";
static const char OWN_ADDRESS[] = "\n127.0.1.1 ";  /* as Debian has it for a host whose address may change */

static int hosts = -1;

/* A root that cannot be written: a copy is laid over the file that is there. */
static int hosts_aside(void)
{
    int from = open(HOSTS, O_RDONLY | O_CLOEXEC);
    int to = open(HOSTS_ASIDE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    while (sendfile(to, from, NULL, COPY_BYTES) > 0)
        ;
    if (from >= 0)
        close(from);
    return mount(HOSTS_ASIDE, HOSTS, NULL, MS_BIND, NULL) ? -1 : to;
}

static void hosts_write(const char *words)
{
    if (write(hosts, words, strlen(words)) < 0)
        SAY("cannot write ", HOSTS, ", so this host will not know its own name: ", REASON);
}

/* All but the name, so that a clone has as little to do as can be. */
void hosts_open(void)
{
    if (hosts < 0 && (hosts = open(HOSTS, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) < 0 && errno == EROFS)
        hosts = hosts_aside();
    lseek(hosts, 0, SEEK_END);
    hosts_write(OWN_ADDRESS);
}

void hosts_add(const char *name)
{
    hosts_write(name);
    hosts_write("\n");
}
