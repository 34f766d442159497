/*
 * file.c - reads and writes files whole.
 */
#define _GNU_SOURCE

#include "tool/file.h"

#include "tool/report.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(SYS_openat2) && defined(__has_include)
#if __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#endif
#endif

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

void
buffer_trim(Buffer *buffer)
{
	size_t first = 0;

	while (buffer->length > 0 && isspace(buffer->bytes[buffer->length - 1]))
		buffer->length--;
	while (first < buffer->length && isspace(buffer->bytes[first]))
		first++;
	if (buffer->length == 0)
		return;
	buffer->length -= first;
	memmove(buffer->bytes, buffer->bytes + first, buffer->length);
	buffer_reserve(buffer, buffer->length + 1);
	buffer->bytes[buffer->length++] = '\n';
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

/*
 * Opens a directory in another one; a symbolic link is ELOOP. make: it is made
 * if it is not there.
 */
static int
open_component(int directory, const char *name, bool make)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct stat status;
	int fd = openat(directory, name, flags);

	if (fd < 0 && errno == ENOENT && make &&
		(mkdirat(directory, name, 0700) == 0 || errno == EEXIST))
		fd = openat(directory, name, flags);
	if (fd < 0 && errno == ENOTDIR)
	{
		bool link =
			fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);

		errno = link ? ELOOP : ENOTDIR;
	}
	return fd;
}

/*
 * Opens the directory that a path ends in, one component after another,
 * through no symbolic link. name: what follows the last slash.
 */
static int
open_parent(int directory, const char *path, bool make, const char **name)
{
	int at = fcntl(directory, F_DUPFD_CLOEXEC, 0);
	const char *slash;

	for (; at >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1)
	{
		size_t length = (size_t) (slash - path);
		char component[NAME_MAX + 1];
		int next = -1;
		int cause;

		errno = ENAMETOOLONG;
		if (length < sizeof(component))
		{
			memcpy(component, path, length);
			component[length] = '\0';
			next = open_component(at, component, make);
		}
		cause = errno;
		close(at);
		errno = cause;
		at = next;
	}
	*name = path;
	return at;
}

/* Opens a file below a directory, through no symbolic link. */
static int
open_below(int directory, const char *path, int flags)
{
	const char *name;
	int parent;
	int fd;
	int cause;

#ifdef RESOLVE_BENEATH
	static bool unknown = false; /* the kernel is older, or a sandbox does not know it */
	struct open_how how = {.flags = (uint64_t) flags,
						   .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};

	/* EAGAIN: something was renamed meanwhile */
	for (int attempt = 0; !unknown && attempt < 8; attempt++)
	{
		fd = (int) syscall(SYS_openat2, directory, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != ENOSYS && errno != EPERM))
			return fd;
		unknown = errno != EAGAIN;
	}
#endif
	parent = open_parent(directory, path, false, &name);
	if (parent < 0)
		return -1;
	fd = openat(parent, name, flags | O_NOFOLLOW);
	cause = errno;
	close(parent);
	errno = cause;
	return fd;
}

FileResult
file_read(int directory, const char *path, size_t limit, Buffer *buffer)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat status;
	FileResult result;
	int fd = directory == AT_FDCWD ? open(path, flags) : open_below(directory, path, flags);

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

/*
 * Writes a file under a name that it does not keep. Whatever has that name was
 * left behind by a run that was killed, or put there to be written to.
 */
static bool
write_aside(int directory, const char *name, const void *bytes, size_t length, bool durable)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(directory, name, flags, 0600);
	bool done;
	int cause;

	if (fd < 0 && errno == EEXIST && unlinkat(directory, name, 0) == 0)
		fd = openat(directory, name, flags, 0600);
	if (fd < 0)
		return false;
	done = write_all(fd, bytes, length) && (!durable || fsync(fd) == 0);
	cause = errno;
	if (close(fd) != 0 && done)
		return false;
	errno = cause;
	return done;
}

/* Puts a file in place in its directory. */
static bool
write_in(int directory, const char *name, const void *bytes, size_t length, bool durable)
{
	char aside[NAME_MAX + 1];
	int cause;

	if (snprintf(aside, sizeof(aside), "%s.new", name) >= (int) sizeof(aside))
	{
		errno = ENAMETOOLONG;
		return false;
	}
	if (write_aside(directory, aside, bytes, length, durable) &&
		renameat(directory, aside, directory, name) == 0)
		return !durable || fsync(directory) == 0;
	cause = errno;
	unlinkat(directory, aside, 0);
	errno = cause;
	return false;
}

bool
file_write(int directory, const char *path, const void *bytes, size_t length, bool durable)
{
	const char *name;
	int parent = open_parent(directory, path, true, &name);
	bool done;
	int cause;

	if (parent < 0)
		return false;
	done = write_in(parent, name, bytes, length, durable);
	cause = errno;
	close(parent);
	errno = cause;
	return done;
}

/* Removes all that is in a directory, and closes it. */
static void
remove_contents(int fd)
{
	DIR *directory = fdopendir(fd);
	struct dirent *file;

	if (directory == NULL)
	{
		close(fd);
		return;
	}
	while ((file = readdir(directory)) != NULL)
	{
		if (file->d_name[0] != '.')
			unlinkat(fd, file->d_name, 0);
	}
	closedir(directory);
}

void
file_remove_directory(int directory, const char *path)
{
	const char *name;
	int parent = open_parent(directory, path, false, &name);
	int fd;

	if (parent < 0)
		return;
	fd = open_component(parent, name, false);
	if (fd >= 0)
	{
		remove_contents(fd);
		unlinkat(parent, name, AT_REMOVEDIR);
	}
	close(parent);
}
