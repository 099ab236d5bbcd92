/* How a machine becomes another one: the host stops its programs here, keeps the whole machine as a template, and says
 * in each clone who it is before its programs go on. docs/templates.md tells the whole story. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* <linux/random.h> is not among the C library's headers. */
enum { RNDADDENTROPY = 0x40085203, RNDRESEEDCRNG = 0x5207 };
enum { MOST_SEED_BYTES = 64, TRIES = 8, UNDISTURBED_NS = NS_PER_MS / 4 };
static const char FOLDER[] = "/run/instance";

static int random_fd = -1;

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Read pairs of hexadecimal digits in place; gives the number of bytes, -1 when there is something else. */
static int hex_read(char *s)
{
    int size = 0;

    for (const char *c = s; *c; c += 2, size++) {
        int high = nibble(c[0]), low = high < 0 ? -1 : nibble(c[1]);
        if (low < 0)
            return -1;
        s[size] = (char)(high << 4 | low);
    }
    return size;
}

/* Every process but this one. A signal is taken before the next instruction of a program: none of them runs on. */
void clone_freeze(void)
{
    kill(-1, SIGSTOP);
}

void instance_folder(void)
{
    mkdir("/run", 0755);
    if (mkdir(FOLDER, 0755) && access(FOLDER, W_OK) && errno == EROFS &&
        mount("tmpfs", FOLDER, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"))
        FAIL("cannot make ", FOLDER, " on a root that cannot be written: ", REASON);
}

/* All programs stand still, and this machine is about to be kept: what its clones need is made ready here, once. */
void clone_detach(void)
{
    random_fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    instance_folder();
    hosts_open();
    address_leave();
}

/* The kernel's random numbers from here on are those of this seed and all that it had before. */
void clone_seed(char *hex)
{
    struct { int entropy_bits, bytes; char seed[MOST_SEED_BYTES]; } pool;
    int size = hex_read(hex);

    if (size <= 0 || size > MOST_SEED_BYTES)
        FAIL("seed is not 1 to 64 bytes in hexadecimal digits");
    memcpy(pool.seed, hex, (size_t)size);
    pool.bytes = size;
    pool.entropy_bits = size * 8;
    if (ioctl(random_fd, RNDADDENTROPY, &pool) || ioctl(random_fd, RNDRESEEDCRNG, 0))
        FAIL("cannot seed the random numbers: ", REASON);
}

/* The wall clock, as its distance from the monotonic one: the words may come late, and are true all the same. */
void clone_clock(char *distance)
{
    unsigned long long distance_ns;

    if (!number_read(distance, INT64_MAX / 2, &distance_ns))
        FAIL("clock is not a number of nanoseconds: ", distance);
    for (int i = 0; i < TRIES; i++) {  /* until nothing came between */
        long long begin_ns = now_ns(), real_ns = begin_ns + (long long)distance_ns;
        struct timespec real = {.tv_sec = real_ns / NS_PER_S, .tv_nsec = (long)(real_ns % NS_PER_S)};
        if (clock_settime(CLOCK_REALTIME, &real))
            FAIL("cannot set the clock: ", REASON);
        if (now_ns() - begin_ns < UNDISTURBED_NS)
            return;
    }
}

void clone_hostname(char *name)
{
    if (sethostname(name, strlen(name)))
        FAIL("cannot set the host name ", name, ": ", REASON);
    hosts_add(name);
}

/* MAC (12 hexadecimal digits), then what ib.ip= takes. */
void clone_network(char *words)
{
    char *ip = strchr(words, ' ');

    if (!ip)
        FAIL("network needs a MAC and an address");
    *ip++ = '\0';
    if (hex_read(words) != MAC_BYTES)
        FAIL("network needs a MAC of 12 hexadecimal digits");
    address_change((const uint8_t *)words, ip);
}

void file_take(const char *folder, char *words, const struct owner *owner)
{
    char *hex = strchr(words, ' ');
    struct text path = {0};
    int size, fd;

    if (!hex || strchr(words, '/') || *words == '.')
        FAIL("file needs a name and its content");
    *hex++ = '\0';
    if ((size = hex_read(hex)) < 0)
        FAIL("file ", words, " is not in hexadecimal digits");
    text_join(&path, folder, "/", words, NULL);
    fd = open(path.s, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, owner->mode);
    if (fd < 0 || write(fd, hex, (size_t)size) != size || fchown(fd, owner->uid, owner->gid))
        FAIL("cannot write ", path.s, ": ", REASON);
    close(fd);
}

/* What the host gives to this machine alone, in /run/instance. */
void clone_file(char *words)
{
    file_take(FOLDER, words, &(struct owner){0, 0, 0644});
}

/* PATH: a program of the image that sees the new machine before the application does. */
void clone_hook(const struct conf *conf, char *path)
{
    int status = 0;
    pid_t pid = hook_start(conf, path);

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status)
        FAIL("the hook ", path, WIFSIGNALED(status) ? " was ended by signal " : " exited with status ",
             DIGITS(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
}

/* All go on. The application has its signal, when one is named, before that: then it takes it before it does anything
 * else, and not between two instructions of which the second waits for it. */
void clone_thaw(pid_t application, char *signal)
{
    unsigned long long number = 0;

    if (*signal && !number_read(signal, 64, &number))
        FAIL("thaw needs the number of a signal, not ", signal);
    if (number)
        kill(application, (int)number);
    kill(-1, SIGCONT);
}
