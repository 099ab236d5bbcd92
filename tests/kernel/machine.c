/* PID 1 of a test: says which processors run it, how long a second is, and how much memory scarcity gives back. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../console.h"

static long total_kib(void)
{
	char text[4096], *found;
	long value = -1;
	int file = open("/proc/meminfo", O_RDONLY);
	ssize_t got = read(file, text, sizeof text - 1);

	close(file);
	text[got > 0 ? got : 0] = 0;
	if ((found = strstr(text, "MemTotal:")))
		sscanf(found, "MemTotal: %ld", &value);
	return value;
}

static void drop_caches(void)
{
	int file = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (write(file, "2", 1) != 1)
		puts("no caches dropped");
	close(file);
}

int main(void)
{
	struct timespec second = { .tv_sec = 2 };

	open_console();
	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/proc", 0555);
	mount("proc", "/proc", "proc", 0, NULL);
	for (int cpu = 0; cpu < 8; cpu++) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (!sched_setaffinity(0, sizeof one, &one))
			printf("runs on %d\n", sched_getcpu());
	}
	puts("sleeps");
	nanosleep(&second, NULL);
	puts("slept");
	printf("total %ld KiB\n", total_kib());
	drop_caches();
	printf("then %ld KiB\n", total_kib());
	reboot(RB_AUTOBOOT);
}
