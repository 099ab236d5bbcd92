/* A guest that is whole in other hands: the first process, and so the only one at init's port to the host. It says what
 * makes the host believe that all is well, then for ever what the host may be made to keep: on the port, the console. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINES = 2000, PIECES = 64 };
static const char PORT[] = "/dev/vport0p1";
static const char BEGIN[] = "1 phase init 1\n1 phase mounts 2\n1 phase network 3\n1 phase application 4\n";
/* What a number is put into: of each kind so many lines, no two alike. */
static const char *const KINDS[] = {
    "%u done X%u\n", "%u done pages\n%u phase a%u 5\n", "%u pages 1 7 7 %u 1\n", "%u listens 0100007F:0050\n%u listens %08X:0050\n",
    "%u memory total=%u free=4 available=3 cached=2 slab=1\n", "%u left 5\n%u signal 999\n%u clock %u\n",
    "%u watch %u\n", "nonsense %u %u\n", "%u", "\xff\x01%u\n\n\n",
};

static void all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t written = write(fd, data, size);
        if (written < 0)
            usleep(1000);
        else
            data += written, size -= (size_t)written;
    }
}

static void flood_console(void)
{
    char block[4096];
    for (;;) {
        for (unsigned i = 0; i < sizeof block; i++)
            block[i] = (char)rand();
        all(1, block, sizeof block);
    }
}

/* Another guest's life is on the port after each round: it is closed and opened again. */
static void flood_port(void)
{
    static char block[1 << 20], pages[4096];
    unsigned number = 0;

    int at = sprintf(pages, "1 pages 1");
    while (at < 1000)
        at += sprintf(pages + at, " 7 7");
    strcpy(pages + at, "\n");
    for (;;) {
        int fd = open(PORT, O_RDWR);
        if (fd < 0) {
            usleep(1000);
            continue;
        }
        for (size_t kind = 0; kind < sizeof KINDS / sizeof *KINDS; kind++) {
            size_t size = 0;
            for (int i = 0; i < LINES; i++, number++)
                size += (size_t)sprintf(block + size, KINDS[kind], number, number, number, number);
            all(fd, block, size);
        }
        for (int i = 0; i < LINES; i++)
            all(fd, pages, strlen(pages));
        memset(block, 'x', sizeof block);
        for (int i = 0; i < PIECES; i++) /* a line without an end */
            all(fd, block, sizeof block / PIECES);
        close(fd);
    }
}

int main(void)
{
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    for (int fd = 0; fd < 3; fd++)
        dup2(open("/dev/console", O_RDWR), fd);
    int port;
    while ((port = open(PORT, O_RDWR)) < 0)
        usleep(1000);
    all(port, BEGIN, sizeof BEGIN - 1);
    close(port);
    if (!fork())
        flood_console();
    if (!fork())
        flood_port();
    for (;;)
        pause();
}
