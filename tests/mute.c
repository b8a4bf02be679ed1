/*
 * mute DIRECTORY: mounts a file system there that never answers (FUSE without
 * anybody who serves it), and says "mounted". It goes with the process.
 */
#include <sys/mount.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128];

	snprintf(options, sizeof options,
	    "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (argc != 2 || mount("mute", argv[1], "fuse", 0, options) < 0) {
		perror("mute");
		return 1;
	}
	puts("mounted");
	fflush(stdout);
	for (;;)
		pause();
}
