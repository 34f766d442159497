/*
 * output.c - a directory of its own for each report.
 */
#define _GNU_SOURCE

#include "reporter/output.h"

#include "tool/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* All that a report has. */
static const char *const output_names[] = {OUTPUT_MARKER,	   OUTPUT_LEDGER, OUTPUT_PROOFS,
										   "report.html",	   "report.json", "notification.csv",
										   "events.ocsf.json", "checkpoint",  "verifier"};

static bool
is_ours(const char *name)
{
	size_t length = strlen(name);

	if (length > 4 && strcmp(name + length - 4, ".new") == 0)
		length -= 4;
	for (size_t i = 0; i < sizeof(output_names) / sizeof(output_names[0]); i++)
	{
		if (strlen(output_names[i]) == length && strncmp(output_names[i], name, length) == 0)
			return true;
	}
	return false;
}

/* Looks at what is in a directory that was there before. */
static ToolExit
look_at_contents(Output *output)
{
	int fd = dup(output->fd);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *file;
	bool any = false;

	if (directory == NULL)
		return report_problem(TOOL_INPUT, "directory %s cannot be read: %s", output->path,
							  strerror(errno));
	while ((file = readdir(directory)) != NULL)
	{
		struct stat status;

		if (strcmp(file->d_name, ".") == 0 || strcmp(file->d_name, "..") == 0)
			continue;
		any = true;
		output->replaced = output->replaced || strcmp(file->d_name, OUTPUT_MARKER) == 0;
		if (is_ours(file->d_name) &&
			fstatat(output->fd, file->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
			!S_ISLNK(status.st_mode))
			continue;
		(void) report_problem(TOOL_INPUT,
							  "directory %s is not empty, and %s in it is not of an earlier "
							  "report: give a new directory",
							  output->path, file->d_name);
		break;
	}
	closedir(directory);
	if (report_code() == TOOL_VERIFIED && any && !output->replaced)
		return report_problem(TOOL_INPUT,
							  "directory %s is not empty, and has no " OUTPUT_MARKER
							  " of an earlier report: give a new directory",
							  output->path);
	return report_code();
}

ToolExit
output_open(Output *output, const char *path)
{
	*output = (Output){.path = path, .fd = -1};
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return report_problem(TOOL_INPUT, "directory %s cannot be made: %s", path, strerror(errno));
	output->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (output->fd < 0)
		return report_problem(TOOL_INPUT, "directory %s cannot be opened: %s", path,
							  errno == ENOTDIR ? "it is a symbolic link or no directory"
											   : strerror(errno));
	if (flock(output->fd, LOCK_EX | LOCK_NB) != 0)
		return report_problem(TOOL_INPUT, "%s is being written by another process", path);
	if (look_at_contents(output) != TOOL_VERIFIED)
		return report_code();
	if (fchmod(output->fd, 0700) != 0)
		return report_problem(TOOL_INPUT, "the mode of %s cannot be set to 0700: %s", path,
							  strerror(errno));
	return TOOL_VERIFIED;
}

static void
aside_name(const char *name, char aside[NAME_MAX + 1])
{
	snprintf(aside, NAME_MAX + 1, "%s.new", name);
}

FILE *
output_begin(const Output *output, const char *name)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char aside[NAME_MAX + 1];
	FILE *file = NULL;
	int fd;

	aside_name(name, aside);
	fd = openat(output->fd, aside, flags, 0600);
	if (fd < 0 && errno == EEXIST && unlinkat(output->fd, aside, 0) == 0)
		fd = openat(output->fd, aside, flags, 0600);
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (file == NULL)
		(void) report_problem(TOOL_INPUT, "%s/%s cannot be written: %s", output->path, name,
							  strerror(errno));
	return file;
}

void
output_abandon(const Output *output, const char *name, FILE *file)
{
	char aside[NAME_MAX + 1];

	if (file == NULL)
		return;
	aside_name(name, aside);
	fclose(file);
	unlinkat(output->fd, aside, 0);
}

ToolExit
output_end(const Output *output, const char *name, FILE *file)
{
	char aside[NAME_MAX + 1];
	bool written = fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
	int cause = errno;

	aside_name(name, aside);
	if (fclose(file) != 0 && written)
	{
		written = false;
		cause = errno;
	}
	if (written && renameat(output->fd, aside, output->fd, name) == 0)
		return TOOL_VERIFIED;
	if (written)
		cause = errno;
	unlinkat(output->fd, aside, 0);
	return report_problem(TOOL_INPUT, "%s/%s cannot be written: %s", output->path, name,
						  strerror(cause));
}

ToolExit
output_put(const Output *output, const char *name, const void *bytes, size_t length)
{
	if (file_write(output->fd, name, bytes, length, true))
		return TOOL_VERIFIED;
	return report_problem(TOOL_INPUT, "%s/%s cannot be written: %s", output->path, name,
						  strerror(errno));
}

void
output_close(Output *output)
{
	if (output->fd >= 0)
		close(output->fd);
	output->fd = -1;
}
