// An HTTP server that tells who it is: its user and its folder, and the page in it. SIGQUIT ends it.

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void quit(int number) {
	static const char said[] = "ended by SIGQUIT\n";
	(void)number;
	_exit(write(1, said, sizeof said - 1) < 0);
}

static void answer(int connection) {
	char request[2048], page[2048] = "", folder[256] = "", body[4096], head[128];
	FILE *file = fopen("page.txt", "r");
	if (file) {
		page[fread(page, 1, sizeof page - 1, file)] = 0;
		fclose(file);
	}
	getcwd(folder, sizeof folder);
	int length = snprintf(body, sizeof body, "user %d, group %d, in %s: %s", getuid(), getgid(), folder, page);
	int before = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", length);
	if (read(connection, request, sizeof request) > 0 && write(connection, head, before) == before)
		send(connection, body, length, MSG_NOSIGNAL);
}

int main(int count, char **words) {
	int port = count > 1 ? atoi(words[1]) : 0, on = 1;
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	signal(SIGQUIT, quit);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 64)) {
		perror("listen");
		return 1;
	}
	printf("listening on port %d\n", port);
	fflush(stdout);
	for (;;) {
		int connection = accept(listener, 0, 0);
		if (connection < 0)
			continue;
		answer(connection);
		close(connection);
	}
}
