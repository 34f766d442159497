/*
 * file.c - reads and writes files whole.
 */
#define _GNU_SOURCE

#include "tool/file.h"

#include "tool/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_LIMIT 4096
#define READ_SIZE 65536

void
buffer_reserve(Buffer *buffer, size_t capacity)
{
	uint8_t *bytes;

	if (capacity <= buffer->capacity)
		return;
	bytes = realloc(buffer->bytes, capacity);
	if (bytes == NULL)
	{
		fputs("biometric-verify: out of memory\n", stderr);
		exit(TOOL_INPUT);
	}
	buffer->bytes = bytes;
	buffer->capacity = capacity;
}

/* Reads to the end of what is open, or until it is more than limit bytes. */
static FileResult
read_all(int fd, size_t limit, Buffer *buffer)
{
	buffer->length = 0;
	for (;;)
	{
		ssize_t count;

		if (buffer->length == buffer->capacity)
			buffer_reserve(buffer, buffer->capacity + READ_SIZE);
		count = read(fd, buffer->bytes + buffer->length, buffer->capacity - buffer->length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return FILE_UNREADABLE;
		if (count == 0)
			return FILE_OK;
		buffer->length += (size_t) count;
		if (buffer->length > limit)
			return FILE_TOO_LARGE;
	}
}

static FileResult
open_failure(void)
{
	switch (errno)
	{
		case ENOENT:
		case ENOTDIR:
			return FILE_MISSING;
		case ELOOP:
			return FILE_LINK;
		case ENXIO:
			return FILE_NO_FILE;
		default:
			return FILE_UNREADABLE;
	}
}

FileResult
file_read(int directory, const char *path, size_t limit, Buffer *buffer)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat status;
	FileResult result;
	int fd = openat(directory, path, directory == AT_FDCWD ? flags : flags | O_NOFOLLOW);

	buffer->length = 0;
	if (fd < 0)
		return open_failure();
	if (fstat(fd, &status) != 0)
		result = FILE_UNREADABLE;
	else if (!S_ISREG(status.st_mode))
		result = FILE_NO_FILE;
	else if (status.st_size < 0 || (uint64_t) status.st_size > limit)
		result = FILE_TOO_LARGE;
	else
	{
		/* one more, so that the end is met without another turn */
		buffer_reserve(buffer, (size_t) status.st_size + 1);
		result = read_all(fd, limit, buffer);
	}
	close(fd);
	return result;
}

FileResult
file_read_stdin(size_t limit, Buffer *buffer)
{
	return read_all(STDIN_FILENO, limit, buffer);
}

const char *
file_result_text(FileResult result)
{
	switch (result)
	{
		case FILE_OK:
			return "is there";
		case FILE_MISSING:
			return "is missing";
		case FILE_LINK:
			return "is a symbolic link, where an archive has its files themselves";
		case FILE_NO_FILE:
			return "is not a plain file";
		case FILE_TOO_LARGE:
			return "is larger than a file of its kind can be";
		case FILE_WRONG_LENGTH:
			return "does not have the length that its name says";
		case FILE_UNREADABLE:
			return strerror(errno);
		default:
			return "cannot be used";
	}
}

bool
file_exists(int directory, const char *path, uint64_t length)
{
	struct stat status;

	return fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
		   (length == 0 || (uint64_t) status.st_size == length);
}

/* Makes the directories that a path is in. */
static bool
make_parents(int directory, const char *path)
{
	char parent[PATH_LIMIT];

	for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
	{
		size_t length = (size_t) (slash - path);

		if (length >= sizeof(parent))
		{
			errno = ENAMETOOLONG;
			return false;
		}
		memcpy(parent, path, length);
		parent[length] = '\0';
		if (length > 0 && mkdirat(directory, parent, 0777) != 0 && errno != EEXIST)
			return false;
	}
	return true;
}

static bool
write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0)
	{
		ssize_t count = write(fd, bytes, length);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		bytes += count;
		length -= (size_t) count;
	}
	return true;
}

/* Writes the file under a name that it does not keep. */
static bool
write_aside(int directory, const char *path, const void *bytes, size_t length, bool durable)
{
	int fd = openat(directory, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
	bool done;
	int cause;

	if (fd < 0 && errno == ENOENT && make_parents(directory, path))
		fd = openat(directory, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd < 0)
		return false;
	done = write_all(fd, bytes, length) && (!durable || fsync(fd) == 0);
	cause = errno;
	if (close(fd) != 0 && done)
		return false;
	errno = cause;
	return done;
}

bool
file_write(int directory, const char *path, const void *bytes, size_t length, bool durable)
{
	char aside[PATH_LIMIT];

	if (snprintf(aside, sizeof(aside), "%s.new", path) >= (int) sizeof(aside))
	{
		errno = ENAMETOOLONG;
		return false;
	}
	if (!write_aside(directory, aside, bytes, length, durable) ||
		renameat(directory, aside, directory, path) != 0)
	{
		int cause = errno;

		unlinkat(directory, aside, 0);
		errno = cause;
		return false;
	}
	return !durable || fsync(directory) == 0;
}
