#include "lib/base/object.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>

#include "lib/base/config.h"
#include "lib/base/file.h"
#include "lib/base/memfd.h"
#include "lib/base/text.h"

enum { NAME_SHOWN = 200 }; /* bytes; a memfd's name may have 249 */

/* A shared object, with all its debugging information. */
static const off_t OBJECT_BYTES = (off_t)1 << 30;

/* Code is not to come from a file system that is mounted so, by whatever way.
 */
static bool
may_run(int file)
{
	struct statvfs system;

	return fstatvfs(file, &system) < 0 || !(system.f_flag & ST_NOEXEC);
}

int
object_open(const char *path, const char **error)
{
	int file = file_open(path, false, OBJECT_BYTES, error);

	if (file < 0 || may_run(file))
		return file;
	close(file);
	*error = "its file system is mounted noexec";
	return -1;
}

/* Memory takes all of a write, or fails. */
static bool
copy(int from, int to)
{
	char bytes[16 * 1024];
	ssize_t count;

	while ((count = read(from, bytes, sizeof bytes)) > 0)
		if (write(to, bytes, (size_t)count) != count)
			return false;
	return count == 0;
}

/* A file that dlopen(3) can open. It takes two of one name for the same one,
 * even if that has been closed meanwhile: so the Nth of a process has a name of
 * its own, by as many slashes more. */
struct name {
	char text[CONFIG_LISTEN_MAX + 32];
};

static struct name
name_of(unsigned n, int memory)
{
	static const char directory[] = "/proc/self/fd/";
	struct name name;
	size_t length = sizeof directory - 1;

	memcpy(name.text, directory, length);
	memset(name.text + length, '/', n);
	snprintf(name.text + length + n, sizeof name.text - length - n, "%d",
	    memory);
	return name;
}

static void *
load_copy(const char *path, int file, unsigned n)
{
	int memory = memfd_for_code(text_tail(path, NAME_SHOWN));
	void *object = NULL;

	if (memory >= 0 && copy(file, memory))
		object = dlopen(name_of(n, memory).text, RTLD_NOW);
	if (memory >= 0)
		close(memory); /* mapped by now */
	return object;
}

/* What dlopen(3) says, without the name that stands before. */
static const char *
explain(const char *path)
{
	const char *text = dlerror();
	size_t length = strlen(path);

	return strncmp(text, path, length) == 0 &&
		strncmp(text + length, ": ", 2) == 0
	    ? text + length + 2
	    : text;
}

static void *
load_itself(const char *path, const char **error)
{
	void *object;

	if (dlopen(path, RTLD_NOW | RTLD_NOLOAD)) {
		*error = "without a copy it can be loaded once, and has been: "
			 "give the other address a file of its own";
		return NULL;
	}
	object = dlopen(path, RTLD_NOW);
	if (!object)
		*error = explain(path);
	return object;
}

void *
object_load(const char *path, int file, unsigned n, const char **error)
{
	void *object = load_copy(path, file, n);

	close(file);
	return object ? object : load_itself(path, error);
}
