#include "lib/base/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Linux 6.3. With vm.memfd_noexec a file has to say which of the two it is. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int
create_once(const char *name, unsigned flags, unsigned newer)
{
	int fd = memfd_create(name, flags | newer);

	return fd >= 0 || errno != EINVAL ? fd : memfd_create(name, flags);
}

/* With a second try at once, for what is short for a moment. */
static int
create(const char *name, unsigned flags, unsigned newer)
{
	int fd = create_once(name, flags | MFD_CLOEXEC, newer);

	return fd >= 0 ? fd : create_once(name, flags | MFD_CLOEXEC, newer);
}

int
memfd_for_code(const char *name)
{
	return create(name, 0, MFD_EXEC);
}

int
memfd_of_size(const char *name, off_t bytes)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int fd = create(name, MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL);
	int error;

	if (fd < 0 ||
	    (ftruncate(fd, bytes) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}
