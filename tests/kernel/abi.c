/* PID 1 of a test: asks the kernel for what ordinary applications take for granted, and says what is missing. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <linux/if_packet.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../console.h"

static int missing;

static void need(const char *what, long result)
{
	if (result < 0) {
		printf("missing: %s (%s)\n", what, strerror(errno));
		missing++;
	}
}

static void processes(void)
{
	sigset_t none;
	timer_t timer;
	aio_context_t aio = 0;
	struct timespec grain;

	sigemptyset(&none);
	need("epoll", epoll_create1(0));
	need("signalfd", signalfd(-1, &none, 0));
	need("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	need("eventfd", eventfd(0, 0));
	need("posix timers", timer_create(CLOCK_MONOTONIC, NULL, &timer));
	need("aio", syscall(SYS_io_setup, 4, &aio));
	need("membarrier", syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0));
	need("seccomp", prctl(PR_GET_SECCOMP));
	need("seccomp filter", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &(unsigned){SECCOMP_RET_KILL_PROCESS}));
	need("futex", syscall(SYS_futex, &(int){0}, 1, 1, NULL, NULL, 0));
	need("rseq", syscall(SYS_rseq, NULL, 0, 0, 0) < 0 && errno == ENOSYS ? -1 : 0);
	need("setuid", setresuid(0, 0, 0));
	need("affinity", sched_getaffinity(0, sizeof(cpu_set_t), &(cpu_set_t){0}));
	need("random", getrandom(&missing + 1, 0, 0));
	clock_getres(CLOCK_MONOTONIC, &grain);
	need("high resolution timers", grain.tv_sec == 0 && grain.tv_nsec == 1 ? 0 : -1);
}

static void memory(void)
{
	struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};

	need("memfd", memfd_create("m", 0));
	need("shared memory", shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
	need("semaphores", semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
	need("messages", msgget(IPC_PRIVATE, IPC_CREAT | 0600));
	need("posix messages", mq_open("/q", O_CREAT | O_RDWR, 0600, &attributes));
	need("madvise", madvise(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096, MADV_DONTNEED));
	need("shared anonymous memory", mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
}

static void sockets(void)
{
	need("unix sockets", socket(AF_UNIX, SOCK_STREAM, 0));
	need("tcp", socket(AF_INET, SOCK_STREAM, 0));
	need("udp", socket(AF_INET, SOCK_DGRAM, 0));
	need("packet sockets", socket(AF_PACKET, SOCK_DGRAM, 0));
	need("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	printf("ipv6: %s\n", socket(AF_INET6, SOCK_STREAM, 0) < 0 ? "no" : "yes");
}

static void file_systems(void)
{
	static const char *const types[][2] = {
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"devpts", "/dev/pts"}, {"tmpfs", "/tmp"}, {"mqueue", "/mq"},
	};
	static const char *const others[] = {"erofs", "overlay"};
	char known[4096] = "";
	int file, list;

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		mkdir(types[i][1], 0755);
		need(types[i][0], mount(types[i][0], types[i][1], types[i][0], 0, NULL));
	}
	list = open("/proc/filesystems", O_RDONLY);
	need("list of file systems", read(list, known, sizeof known - 1));
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		need(others[i], strstr(known, others[i]) ? 0 : -1);
	need("meminfo", access("/proc/meminfo", R_OK));
	need("sysctl", access("/proc/sys/net/core/somaxconn", W_OK));
	need("terminals", open("/dev/ptmx", O_RDWR));
	need("inotify", inotify_add_watch(inotify_init1(0), "/tmp", IN_CREATE));
	file = open("/tmp/file", O_CREAT | O_RDWR, 0600);
	need("locks", flock(file, LOCK_EX));
	need("fadvise", posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) ? -1 : 0);
	need("fallocate", fallocate(file, 0, 0, 4096));
}

int main(void)
{
	open_console();
	file_systems();
	processes();
	memory();
	sockets();
	printf("asked: %d missing\n", missing);
	fflush(stdout);
	reboot(RB_AUTOBOOT);
}
