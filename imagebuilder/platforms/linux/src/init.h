/* The init of an image made by imagebuilder: what its files share. docs/guest.md tells what it does and in what order. */
#ifndef INIT_H
#define INIT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000, MS_PER_S = 1000 };

/* --- text.c: lines without printf ------------------------------------------------------------------------------- */

struct text { size_t used; char s[512]; };  /* always ends with a NUL; what does not fit is cut off */
struct digits { char s[24]; };

void text_add(struct text *text, const char *more);
void text_join(struct text *text, ...) __attribute__((sentinel));  /* const char *…, NULL */
struct digits digits(long long number);
bool number_read(const char *s, unsigned long long most, unsigned long long *number);
long long now_ns(void);         /* CLOCK_MONOTONIC */
long long clock_step_ns(void);  /* by how much it goes on at once */
#define DIGITS(number) (digits(number).s)

/* --- conf.c: /init.conf ----------------------------------------------------------------------------------------- */

enum { MOST_WORDS = 256, MOST_GROUPS = 32, MOST_LINES = 64, MOST_PARTS = 512, MOST_HELPERS = 8, MOST_HELPER_WORDS = 64 };

struct mount { char *type, *target, *options; };
struct limit { const char *name; int resource; struct rlimit value; };
struct sysctl { char *path, *value; };
struct part { uint16_t first, count; };      /* pages of a file */
struct ahead { char *path; int end_part; };  /* its parts are those before this one, from the end of the file before */

enum awaited { AWAITED_NOTHING, AWAITED_PORT, AWAITED_FILE, AWAITED_LINE };
struct helper {  /* a process that runs beside the application */
    char *name, *arg[MOST_HELPER_WORDS + 1], *env[MOST_HELPER_WORDS + 1];  /* NULL at the end */
    int args, envs, limit_ms;
    uid_t uid;
    gid_t gid;
    bool restart;          /* when it failed */
    enum awaited awaited;  /* how one sees that it is ready */
    char *text;            /* the path, the text of the line, or the port's number */
    int port;
};

struct conf {
    char *arg[MOST_WORDS + 1];  /* NULL at the end */
    char *env[MOST_WORDS + 1];
    char *module[MOST_LINES];
    struct ahead ahead[MOST_LINES];  /* files that the application will read at once */
    struct part part[MOST_PARTS];    /* of them, those that are read ahead */
    struct mount mount[MOST_LINES];
    char *copy[MOST_LINES];          /* mount points: what the image has there is copied onto the mount */
    struct limit limit[RLIM_NLIMITS];
    struct sysctl sysctl[MOST_LINES];
    gid_t group[MOST_GROUPS];
    uint64_t capabilities;           /* a bit for each that the application has */
    int args, envs, modules, aheads, parts, mounts, copies, limits, sysctls, groups;
    uid_t uid;
    gid_t gid;
    const char *cwd, *hostname;
    const char *overlay;  /* NULL: none; "": of any size; else the tmpfs's size option */
    int stop_signal, grace_ms;
    bool no_network;     /* not even the loopback */
    bool listen_signal;  /* the kernel sends SIGIO when a socket begins to listen */
    int helpers;
    struct helper helper[MOST_HELPERS];  /* the last member: nothing of it is touched where there is none */
};

/* Read the text (its NUL at data[size]) into conf, which points into it afterwards; false: why says what is wrong. */
bool conf_read(struct conf *conf, char *data, size_t size, struct text *why);

/* --- words.c: /proc/cmdline and addresses ------------------------------------------------------------------------ */

enum { MOST_DNS = 3 };

struct lease {  /* addresses in network byte order, 0: not known */
    uint32_t address, mask, gateway, server, dns[MOST_DNS];
    int dns_count, mtu;
};
struct boot { const char *ip, *hostname, *channel, *learn, *more; bool listen, given; };

void boot_read(struct boot *boot, char *cmdline);  /* boot points into cmdline afterwards */
void boot_add(struct boot *boot, char *words);  /* as boot_read, behind what it has */
bool lease_read(struct lease *lease, const char *words);  /* ADDRESS/PREFIX[,GATEWAY[,DNS…]] */
struct digits address_text(uint32_t address);

/* --- mounts.c ---------------------------------------------------------------------------------------------------- */

void mount_base(void);                         /* /proc, /dev and the console as 0, 1, 2 */
void mount_overlay(const char *size);          /* a tmpfs over the read-only root; ends in the new root */
void mount_all(const struct conf *conf);
void unmount_disks(const struct conf *conf);
void modules_load(const struct conf *conf);
void files_ahead(const struct conf *conf);     /* the disk reads them while init goes on */
bool file_write(const char *path, const char *text, int flags);

/* --- copy.c ------------------------------------------------------------------------------------------------------ */

void covered_copy(const struct conf *conf);    /* what the image has below its mounts */

/* --- learn.c: which pages a start uses --------------------------------------------------------------------------- */

void learn_begin(const char *disk);            /* nothing of it is read but what is asked for */
void learn_tell(const struct conf *conf);      /* the pages of the `ahead` files that are in memory */

/* --- hosts.c ------------------------------------------------------------------------------------------------------ */

void hosts_open(void);                         /* /etc/hosts is about to get another name of this host */
void hosts_add(const char *name);

/* --- network.c, dhcp.c ------------------------------------------------------------------------------------------- */

enum { MAC_BYTES = 6, DHCP_PACKET_BYTES = 1500 };
enum dhcp_type { DHCP_NONE = 0, DHCP_DISCOVER = 1, DHCP_OFFER = 2, DHCP_REQUEST = 3, DHCP_ACK = 5, DHCP_NAK = 6 };

void network_loopback(void);
void network_up(const char *ip);
struct ifreq;
bool interface_find(int fd, struct ifreq *request, uint8_t *mac);  /* the Ethernet interface with the lowest number */
size_t dhcp_write(uint8_t *packet, enum dhcp_type type, uint32_t xid, const uint8_t *mac, const struct lease *wanted);
enum dhcp_type dhcp_read(const uint8_t *packet, size_t size, uint32_t xid, const uint8_t *mac, struct lease *lease);
void dhcp_ask(const char *interface, const uint8_t *mac, struct lease *lease);

/* --- channel.c: the virtio-serial port to the host ---------------------------------------------------------------- */

void channel_begin(const char *device);        /* "1": the port of our name; NULL: none */
void channel_claim(void);                      /* nobody else opens the port from here on */
void channel_line(const char *first, ...) __attribute__((sentinel));  /* kept until the port is there */
void channel_phase(const char *name, long long at_ns);
void channel_poll(struct pollfd *entry);       /* what to wait for */
int channel_timeout_ms(void);                  /* -1: nothing to try again */
void channel_ready(short events, void (*command)(char *line));
bool channel_take(void (*command)(char *line), const bool *enough, int limit_ms);  /* until it is enough */
void channel_drain(void);                      /* the same, before there is more to say than is kept */
void channel_end(void);                        /* sends what is kept (bounded wait), so that the host has it */

int sysfs_open(void);                          /* one of init's own, that stands nowhere in the tree; -1: none */

/* --- power.c ------------------------------------------------------------------------------------------------------- */

bool can_power_off(void);                      /* else a reset has to do, which ends a machine that is to end by it */

/* --- watch.c: whether the application listens ----------------------------------------------------------------------- */

/* Until the application is seen to listen, init stands back for it; it need not where the kernel tells. */
void watch_begin(bool wanted, bool told);
void watch_told(void);                         /* a socket listens, says the kernel */
int watch_timeout_ms(void);                    /* -1: nothing to look for */
void watch_look(void);
void listens_tell(void);                       /* the addresses and ports at which TCP sockets listen */
bool listens_at(int port);                     /* whether one does at this port */

/* --- helpers.c: processes beside the application ------------------------------------------------------------------- */

void helpers_start(const struct conf *conf);   /* one after the other; returns when all are ready */
void helpers_stop(const struct conf *conf);    /* asks them to end, and waits for that (bounded) */
void helper_reaped(pid_t pid, int status);     /* a process ended that is not the application */
int helpers_poll(struct pollfd *entries);      /* what to wait for; gives how many entries */
int helpers_timeout_ms(void);                  /* -1: none is to be started again */
void helpers_look(void);                       /* pass on what they print, start again what is to be */

/* --- clone.c: the host makes another machine of this one; words are those of docs/contracts.md --------------------- */

void address_leave(void);
void address_change(const uint8_t *mac, const char *ip);
void clone_freeze(void);
void clone_detach(void);
void clone_seed(char *hex);
void clone_clock(char *distance);
void clone_hostname(char *name);
void clone_network(char *words);
void clone_file(char *words);
void clone_hook(const struct conf *conf, char *path);
void instance_folder(void);                    /* /run/instance, on whichever root */
struct owner { uid_t uid; gid_t gid; mode_t mode; };
void file_take(const char *folder, char *words, const struct owner *owner);  /* NAME HEX, part by part */
void clone_thaw(pid_t application, char *signal);

/* --- given.c: what the host has for this start alone --------------------------------------------------------------- */

void given_take(struct conf *conf);            /* before anything is started */
void secret_take(const struct conf *conf, char *words);

/* --- start.c, loop.c, main.c --------------------------------------------------------------------------------------- */

pid_t application_start(const struct conf *conf);
pid_t helper_start(const struct helper *helper, int out);  /* what it prints goes to out, unless that is -1 */
pid_t hook_start(const struct conf *conf, char *path);  /* as the application, but in the background */
int application_wait(const struct conf *conf, pid_t pid);  /* gives waitpid's status */
void signals_block(void);
bool asked_to_end(void);                       /* whether the host had the application end */
void console_say(const char *first, ...) __attribute__((sentinel));
_Noreturn void fail(const char *first, ...) __attribute__((sentinel));
_Noreturn void power_off(void);
#define FAIL(...) fail(__VA_ARGS__, (char *)0)
#define SAY(...) console_say(__VA_ARGS__, (char *)0)
#define LINE(...) channel_line(__VA_ARGS__, (char *)0)
#define REASON strerror(errno)

#endif
