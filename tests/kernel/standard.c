/* PID 1 of a test: uses what the kernel standard has and micro has not. Disks: an ext4, a compressed EROFS, a squashfs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
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

/* A file system on a disk: mount it; write where one can; read what is there. */
static void disk(const char *type, const char *device, unsigned long flags)
{
	char path[64], text[16] = "";
	int fd;

	mkdir(type, 0755);
	need(type, mount(device, type, type, flags, NULL));
	snprintf(path, sizeof path, "%s/%s", type, flags & MS_RDONLY ? "what" : "kept");
	if (!(flags & MS_RDONLY)) {
		need("a new file", fd = open(path, O_CREAT | O_WRONLY, 0644));
		need("writing", write(fd, "told", 4));
		need("syncing", fsync(fd));
		close(fd);
	}
	need("a file that is there", fd = open(path, O_RDONLY));
	need("reading", read(fd, text, sizeof text - 1));
	printf("%s: %s\n", type, text);
	close(fd);
	need("unmounting", umount(type));
}

static void sockets(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_addr = in6addr_any};
	struct io_uring_params ring = {0};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	need("IPv6", fd);
	need("an address of IPv6", bind(fd, (struct sockaddr *)&any, sizeof any));
	need("listening", listen(fd, 1));
	need("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	need("io_uring", syscall(SYS_io_uring_setup, 8, &ring));
}

static void containers(void)
{
	mkdir("cgroup", 0755);
	need("control groups", mount("none", "cgroup", "cgroup2", 0, NULL));
	need("a control group", mkdir("cgroup/one", 0755));
	need("controllers", access("cgroup/one/cgroup.procs", F_OK));
	need("namespaces", unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUSER));
}

int main(void)
{
	open_console();
	need("devtmpfs", mount("none", "/dev", "devtmpfs", 0, NULL));
	disk("ext4", "/dev/vda", 0);
	disk("erofs", "/dev/vdb", MS_RDONLY);
	disk("squashfs", "/dev/vdc", MS_RDONLY);
	sockets();
	containers();
	printf("asked: %d missing\n", missing);
	fflush(stdout);
	sync();
	reboot(RB_AUTOBOOT);
	return 0;
}
