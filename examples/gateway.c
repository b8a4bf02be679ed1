/*
 * gateway: devices that report readings, over connections that stay for weeks.
 *
 *     preforkd --listen :7100=./gateway.so:60,/var/lib/readings
 *
 * Each message is a frame: 2 bytes that tell how long its body is, a byte that
 * tells what it is, the body. Numbers begin with their highest byte.
 *
 *     1 HELLO    the device's name: 1 to 32 letters, digits, '.', '-', '_'
 *     2 WELCOME  answers it: the heartbeat in seconds, 2 bytes
 *     3 DATA     a number, 4 bytes, and a reading, 1 to 1000 bytes
 *     4 ACK      answers it with the number, once the reading is stored
 *     5 PING     from either side, answered by
 *     6 PONG
 *     7 ERROR    a text; the gateway closes after it
 *
 * The first frame is HELLO. A device numbers its readings, each by one higher
 * than the last, and keeps them until they are acknowledged, to send them again
 * on its next connection. One that says nothing for a heartbeat gets a PING;
 * one that says nothing for three is dead, and nothing else would tell.
 *
 * The file gets a line for each reading: the time, the device, the number, the
 * reading in hexadecimal digits. It is there twice where a worker died before
 * its ACK could leave: device and number tell which are the same. A line of
 * another shape, or a last one without its end, is what a full disk or a killed
 * worker has left of a reading that was not acknowledged.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <preforkd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum type { HELLO = 1, WELCOME, DATA, ACK, PING, PONG, ERROR };

enum {
	HEADER = 3,	   /* bytes before the body */
	LONGEST_NAME = 32, /* bytes */
	NUMBER = 4,	   /* bytes */
	LONGEST_READING = 1000,
	LINE = 64 + LONGEST_NAME + 2 * LONGEST_READING,
	LOOK = 64 << 10, /* bytes of the file that are read back */
	SILENCES = 3	 /* heartbeats that a device may let pass */
};

/* Of each connection. */
struct device {
	char name[LONGEST_NAME + 1]; /* empty until it has said hello */
	uint8_t silences;	     /* heartbeats since its last word */
	uint32_t readings;	     /* that it has sent */
	uint32_t number;	     /* of the last one */
};

static unsigned heartbeat; /* seconds */
static int file = -1;	   /* of the readings */

static const char *
start(const char *argument)
{
	static const char expected[] =
	    "expected SECONDS,FILE: a heartbeat of 1 to 65535, and where the "
	    "readings go";
	static char failure[512];
	char *end;
	unsigned long seconds = strtoul(argument, &end, 10);

	if (!isdigit((unsigned char)*argument) || *end != ',' || !end[1] ||
	    seconds < 1 || seconds > 65535)
		return expected;
	heartbeat = (unsigned)seconds;
	/* All workers append to the same file. */
	file = open(end + 1, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (file >= 0)
		return NULL;
	snprintf(failure, sizeof failure, "%s: %s", end + 1, strerror(errno));
	return failure;
}

static void
stop(void)
{
	close(file);
}

/* ---- frames to the device ------------------------------------------------ */

static void
send_frame(
    struct preforkd_conn *conn, enum type type, const void *body, size_t count)
{
	const unsigned char header[HEADER] = {
		(unsigned char)(count >> 8),
		(unsigned char)count,
		(unsigned char)type,
	};

	preforkd_reply(conn, header, sizeof header);
	preforkd_reply(conn, body, count);
}

static void
refuse(struct preforkd_conn *conn, const char *why)
{
	preforkd_count(conn, "gateway refused", 1);
	preforkd_log(conn, PREFORKD_DEBUG, "refused: %s", why);
	send_frame(conn, ERROR, why, strlen(why));
	preforkd_finish(conn);
}

/* ---- the file ------------------------------------------------------------ */

/*
 * A line is mostly one write. Where the disk is full, or the writer is killed,
 * a part of it may be written and stay there without an end; then the next
 * line, from whatever worker, goes on behind it and cannot be read. The part
 * cannot be cut off, since another worker may have written behind it by then.
 * So each line is looked for in the file before it counts as stored. One that
 * has been appended to a part has also ended it, and is written once more.
 */

/* Fails as write(2) does: the attempt to write the rest of a line tells why the
 * first one was short. */
static bool
append(const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t written = write(file, bytes, count);

		if (written < 0)
			return false;
		bytes += written;
		count -= (size_t)written;
	}
	return true;
}

/* Whether LINE begins behind a newline that is not before FROM; the file itself
 * begins like that. */
static bool
stands_alone(const char *line, size_t length, off_t from)
{
	char bytes[1 + LOOK];
	const char *at = bytes, *end;
	bool first = from == 0;
	ssize_t count = pread(file, bytes + first, LOOK, from - !first);

	if (count < 0)
		return false;
	bytes[0] = first ? '\n' : bytes[0];
	end = bytes + first + count;
	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		at++;
		if ((size_t)(end - at) >= length &&
		    memcmp(at, line, length) == 0)
			return true;
	}
	return false;
}

/* Returns false with errno. */
static bool
store_line(const char *line, size_t length)
{
	for (int tries = 0; tries < 5; tries++) {
		struct stat before;

		if (fstat(file, &before) < 0 || !append(line, length))
			return false;
		/* A pipe cannot be read back, and takes a line whole. */
		if (!S_ISREG(before.st_mode) ||
		    stands_alone(line, length, before.st_size))
			return true;
	}
	errno = EIO;
	return false;
}

static bool
store(const struct device *device, uint32_t number, const unsigned char *bytes,
    size_t count)
{
	static const char digits[] = "0123456789abcdef";
	char line[LINE];
	size_t length;

	length = (size_t)snprintf(line, sizeof line, "%jd %s %" PRIu32 " ",
	    (intmax_t)time(NULL), device->name, number);
	for (size_t i = 0; i < count; i++) {
		line[length++] = digits[bytes[i] >> 4];
		line[length++] = digits[bytes[i] & 15];
	}
	line[length++] = '\n';
	return store_line(line, length);
}

/* ---- frames from the device ---------------------------------------------- */

/* Each of these returns NULL, or what is wrong. */

static const char *
take_hello(struct preforkd_conn *conn, struct device *device,
    const unsigned char *name, size_t length)
{
	const unsigned char interval[] = {
		(unsigned char)(heartbeat >> 8),
		(unsigned char)heartbeat,
	};
	static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "abcdefghijklmnopqrstuvwxyz"
					 "0123456789.-_";
	char text[LONGEST_NAME + 1] = "";

	if (*device->name)
		return "HELLO comes once";
	memcpy(text, name, length);
	if (length == 0 || strspn(text, characters) != length)
		return "a name has letters, digits, '.', '-' and '_'";
	strcpy(device->name, text);
	preforkd_limit(conn, HEADER + NUMBER + LONGEST_READING);
	preforkd_count(conn, "gateway hellos", 1);
	send_frame(conn, WELCOME, interval, sizeof interval);
	return NULL;
}

static const char *
take_data(struct preforkd_conn *conn, struct device *device,
    const unsigned char *body, size_t count)
{
	uint32_t number;

	if (count <= NUMBER)
		return "DATA has a number and a reading";
	number = (uint32_t)body[0] << 24 | (uint32_t)body[1] << 16 |
	    (uint32_t)body[2] << 8 | body[3];
	if (device->readings > 0 && number != device->number + 1)
		return "numbers rise by one";
	if (!store(device, number, body + NUMBER, count - NUMBER)) {
		preforkd_log(conn, PREFORKD_ERROR,
		    "a reading of %s cannot be stored: %s", device->name,
		    strerror(errno));
		return "it cannot be stored now";
	}
	device->readings++;
	device->number = number;
	preforkd_count(conn, "gateway readings", 1);
	send_frame(conn, ACK, body, NUMBER);
	return NULL;
}

static const char *
take_frame(struct preforkd_conn *conn, struct device *device, int type,
    const unsigned char *body, size_t count)
{
	if (type == HELLO)
		return take_hello(conn, device, body, count);
	if (!*device->name)
		return "HELLO comes first";
	if (type == DATA)
		return take_data(conn, device, body, count);
	if (type == PING && count == 0)
		send_frame(conn, PONG, "", 0);
	else if (type != PONG || count != 0)
		return "no such frame";
	return NULL;
}

/* ---- the service --------------------------------------------------------- */

/* A stranger may have no more in memory than a hello takes. */
static void
meet(struct preforkd_conn *conn)
{
	preforkd_limit(conn, HEADER + LONGEST_NAME);
	preforkd_timer(conn, heartbeat * 1000);
}

static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	struct device *device = preforkd_state(conn);
	size_t most = *device->name ? NUMBER + LONGEST_READING : LONGEST_NAME;
	size_t length;
	const char *wrong;

	if (count < HEADER)
		return 0;
	length = (size_t)bytes[0] << 8 | bytes[1];
	if (length > most) {
		refuse(conn, "it is too long");
		return count;
	}
	if (count < HEADER + length)
		return 0;
	wrong = take_frame(conn, device, bytes[2], bytes + HEADER, length);
	if (wrong) {
		refuse(conn, wrong);
		return count;
	}
	device->silences = 0;
	preforkd_timer(conn, heartbeat * 1000);
	return HEADER + length;
}

/* A heartbeat has passed without a word. */
static void
timer(struct preforkd_conn *conn)
{
	struct device *device = preforkd_state(conn);

	if (!*device->name) {
		refuse(conn, "HELLO comes first");
	} else if (++device->silences < SILENCES) {
		send_frame(conn, PING, "", 0);
		preforkd_timer(conn, heartbeat * 1000);
	} else {
		preforkd_count(conn, "gateway dead", 1);
		preforkd_log(conn, PREFORKD_INFO, "%s is dead", device->name);
		preforkd_abort(conn);
	}
}

static void
part(struct preforkd_conn *conn, enum preforkd_reason reason)
{
	const struct device *device = preforkd_state(conn);

	(void)reason;
	if (*device->name)
		preforkd_log(conn, PREFORKD_INFO,
		    "%s has gone after %" PRIu32 " readings", device->name,
		    device->readings);
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "gateway",
	.state_size = sizeof(struct device),
	.state_version = 1,
	.start = start,
	.stop = stop,
	.open = meet,
	.input = input,
	.timer = timer,
	.close = part,
};
