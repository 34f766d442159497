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

/* More than the marker is long. */
#define MARKER_MAX 16384
/* Where a report is gathered, in its directory, before it takes the place of an earlier one. */
#define OUTPUT_ASIDE "unfinished"

/* All that a report has. */
static const char *const output_names[] = {
	OUTPUT_MARKER,		OUTPUT_LEDGER,		OUTPUT_PROOFS, "report.html", "report.json",
	"notification.csv", "events.ocsf.json", "checkpoint",  "verifier",	  OUTPUT_ASIDE};

/* What is written anew; the page that people open comes last. */
static const char *const output_files[] = {"checkpoint",	   "verifier",	  "events.ocsf.json",
										   "notification.csv", "report.json", "report.html"};

static void
aside_name(const char *name, char aside[NAME_MAX + 1])
{
	snprintf(aside, NAME_MAX + 1, "%s.new", name);
}

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

/* Whether a directory's marker is the one that this program writes. */
static bool
has_our_marker(int directory)
{
	Buffer text = {0};
	size_t length = strlen(OUTPUT_MARKER_LINE);
	bool ours = file_read(directory, OUTPUT_MARKER, MARKER_MAX, &text) == FILE_OK &&
				text.length >= length && memcmp(text.bytes, OUTPUT_MARKER_LINE, length) == 0;

	free(text.bytes);
	return ours;
}

static bool
is_proof(const char *name)
{
	size_t digits = strspn(name, "0123456789");

	return digits > 0 && strcmp(name + digits, ".tlog-proof") == 0;
}

/* Looks for something among the proofs of an earlier report that is none, and would go with them. */
static ToolExit
look_at_proofs(const Output *output)
{
	int fd = openat(output->home, OUTPUT_PROOFS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *file;

	if (directory == NULL)
		return report_code();
	while (report_code() == TOOL_VERIFIED && (file = readdir(directory)) != NULL)
	{
		if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0 &&
			!is_proof(file->d_name))
			(void) report_problem(TOOL_INPUT,
								  "%s/" OUTPUT_PROOFS "/%s is not of an earlier report: give a "
								  "new directory",
								  output->path, file->d_name);
	}
	closedir(directory);
	return report_code();
}

/* Looks at what is in a directory that was there before. */
static ToolExit
look_at_contents(Output *output)
{
	int fd = dup(output->home);
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
		if (is_ours(file->d_name) &&
			fstatat(output->home, file->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
			!S_ISLNK(status.st_mode))
			continue;
		(void) report_problem(TOOL_INPUT,
							  "directory %s is not empty, and %s in it is not of an earlier "
							  "report: give a new directory",
							  output->path, file->d_name);
		break;
	}
	closedir(directory);
	if (report_code() == TOOL_VERIFIED && any && !has_our_marker(output->home))
		return report_problem(TOOL_INPUT,
							  "directory %s is not empty, and has no " OUTPUT_MARKER
							  " of an earlier report: give a new directory",
							  output->path);
	return any ? look_at_proofs(output) : report_code();
}

/* Throws away what was written, or was left by a program that was ended. */
static void
remove_aside(const Output *output)
{
	int fd = openat(output->home, OUTPUT_ASIDE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	for (size_t i = 0; i < sizeof(output_names) / sizeof(output_names[0]); i++)
	{
		char aside[NAME_MAX + 1];

		aside_name(output_names[i], aside);
		unlinkat(fd, output_names[i], 0);
		unlinkat(fd, aside, 0);
	}
	file_remove_directory(fd, OUTPUT_PROOFS);
	close(fd);
	unlinkat(output->home, OUTPUT_ASIDE, AT_REMOVEDIR);
}

/* Makes the directory that a report is gathered in before it replaces another. */
static ToolExit
make_aside(Output *output)
{
	remove_aside(output);
	if (mkdirat(output->home, OUTPUT_ASIDE, 0700) == 0)
		output->fd =
			openat(output->home, OUTPUT_ASIDE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (output->fd < 0)
		return report_problem(TOOL_INPUT, "%s/" OUTPUT_ASIDE " cannot be made: %s", output->path,
							  strerror(errno));
	return TOOL_VERIFIED;
}

/* The path without slashes behind it, which would lead through a symbolic link. */
static char *
plain_path(const char *path)
{
	char *plain = strdup(path);
	size_t length = plain != NULL ? strlen(plain) : 0;

	while (length > 1 && plain[length - 1] == '/')
		plain[--length] = '\0';
	return plain;
}

ToolExit
output_open(Output *output, const char *path)
{
	*output = (Output){.path = plain_path(path), .home = -1, .fd = -1};
	if (output->path == NULL)
		return report_problem(TOOL_INPUT, "out of memory");
	path = output->path;
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return report_problem(TOOL_INPUT, "directory %s cannot be made: %s", path, strerror(errno));
	output->home = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (output->home < 0)
		return report_problem(TOOL_INPUT, "directory %s cannot be opened: %s", path,
							  errno == ENOTDIR ? "it is a symbolic link or no directory"
											   : strerror(errno));
	if (flock(output->home, LOCK_EX | LOCK_NB) != 0)
		return report_problem(TOOL_INPUT, "%s is being written by another process", path);
	if (look_at_contents(output) != TOOL_VERIFIED)
		return report_code();
	if (fchmod(output->home, 0700) != 0)
		return report_problem(TOOL_INPUT, "the mode of %s cannot be set to 0700: %s", path,
							  strerror(errno));
	return make_aside(output);
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

ToolExit
output_mark(const Output *output, const char *text)
{
	if (file_write(output->home, OUTPUT_MARKER, text, strlen(text), true))
		return TOOL_VERIFIED;
	return report_problem(TOOL_INPUT, "%s/" OUTPUT_MARKER " cannot be written: %s", output->path,
						  strerror(errno));
}

/* Puts one of the files in the place of an earlier one. */
static bool
move_file(const Output *output, const char *name)
{
	return renameat(output->fd, name, output->home, name) == 0 || errno == ENOENT;
}

ToolExit
output_commit(Output *output)
{
	size_t count = sizeof(output_files) / sizeof(output_files[0]);
	bool moved = true;

	/* from the page that people open on: what is left, if this is ended, is no report */
	for (size_t i = count; i-- > 0;)
	{
		struct stat status;

		if (unlinkat(output->home, output_files[i], 0) == 0)
			output->replaced = true;
		else if (fstatat(output->home, output_files[i], &status, AT_SYMLINK_NOFOLLOW) == 0)
			moved = false;
	}
	if (moved && fsync(output->home) != 0)
		moved = false;
	file_remove_directory(output->home, OUTPUT_PROOFS);
	moved = moved && move_file(output, OUTPUT_PROOFS);
	for (size_t i = 0; moved && i < count; i++)
		moved = move_file(output, output_files[i]);
	if (moved && fsync(output->home) == 0)
		return TOOL_VERIFIED;
	return report_problem(TOOL_INPUT, "the report in %s cannot be put in place: %s", output->path,
						  strerror(errno));
}

void
output_close(Output *output)
{
	if (output->fd >= 0)
	{
		close(output->fd);
		remove_aside(output);
	}
	if (output->home >= 0)
		close(output->home);
	free(output->path);
	*output = (Output){.home = -1, .fd = -1};
}
