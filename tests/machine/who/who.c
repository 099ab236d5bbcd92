/* Tells everybody who connects to port 7000 who it is, and what it has seen since it was told (SIGUSR1) that it is a
 * clone. A second process looks at the host name all the time, and notes when it last saw another one than now. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t told;
static struct { long long saw_other_ns, looks; } *watch;

static void tell(int number) { (void)number; told++; }

static long long now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void file(FILE *out, const char *key, const char *path)
{
    char text[2048] = "";
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

    fprintf(out, "%s ", key);
    for (ssize_t i = 0; i < size; i++)
        fputc(text[i] == '\n' ? '|' : text[i], out);
    fputc('\n', out);
    if (fd >= 0)
        close(fd);
}

static void looking(void)
{
    char before[65] = "", name[65];
    long long saw_ns = 0;

    for (;;) {
        gethostname(name, sizeof name);
        if (strcmp(name, before)) {
            watch->saw_other_ns = saw_ns;
            strcpy(before, name);
        }
        saw_ns = now(CLOCK_MONOTONIC);
        watch->looks++;
        usleep(200);
    }
}

/* What the processor itself gives at random. */
static unsigned long long rdrand(void)
{
    unsigned long long number = 0;
    __asm__ volatile("rdrand %0" : "=r"(number) : : "cc");
    return number;
}

static void answer(FILE *out)
{
    unsigned char random[16];
    char name[65], mac[64] = "";
    struct ifreq request = {.ifr_name = "eth0"};
    struct ifaddrs *all = NULL;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    gethostname(name, sizeof name);
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return;
    fprintf(out, "realtime_ns %lld\nhostname %s\nrandom ", now(CLOCK_REALTIME), name);
    for (size_t i = 0; i < sizeof random; i++)
        fprintf(out, "%02x", random[i]);
    if (!ioctl(fd, SIOCGIFHWADDR, &request))
        for (int i = 0; i < 6; i++)
            sprintf(mac + 2 * i, "%02x", (unsigned char)request.ifr_hwaddr.sa_data[i]);
    close(fd);
    fprintf(out, "\nmac %s\naddresses", mac);
    getifaddrs(&all);
    for (struct ifaddrs *each = all; each; each = each->ifa_next)
        if (each->ifa_addr && each->ifa_addr->sa_family == AF_INET)
            fprintf(out, " %s", inet_ntoa(((struct sockaddr_in *)each->ifa_addr)->sin_addr));
    freeifaddrs(all);
    fprintf(out, "\nrdrand %llx\ntold %d\nsaw_other_ns %lld\nlooks %lld\n", rdrand(), (int)told,
            watch->saw_other_ns, watch->looks);
    file(out, "environment", "/run/instance/environment");
    file(out, "user_data", "/run/instance/user-data");
    file(out, "hosts", "/etc/hosts");
    file(out, "mark", "/mark");
    file(out, "disk", "/dev/vda");
    fputs("end\n", out);
}

/* What came first of all stands on the disk; later words are written behind it. */
static void disk(const char *words)
{
    static off_t at;
    char block[512] = "";
    int fd = open("/dev/vda", O_WRONLY | O_SYNC);

    snprintf(block, sizeof block, "%s", words);
    if (fd >= 0) {
        pwrite(fd, block, strlen(block), at);
        at += (off_t)strlen(block);
        close(fd);
    }
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7000)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sigaction action = {.sa_handler = tell};

    watch = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!fork())
        looking();
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGPIPE, SIG_IGN);  /* who asks may have gone */
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16))
        return 1;
    for (;;) {
        char words[256];
        int peer = accept(listener, NULL, NULL);
        if (peer < 0)
            continue;
        struct timeval patience = {.tv_usec = 50000};
        setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ssize_t size = recv(peer, words, sizeof words - 1, 0);
        if (size > 0) {
            words[size] = '\0';
            disk(words);
        }
        FILE *out = fdopen(peer, "w");
        answer(out);
        fclose(out);
    }
}
