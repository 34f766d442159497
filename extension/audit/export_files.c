/*
 * export_files.c - the directory that an export is written to.
 *
 * A file is written under another name, synced and renamed, a batch of them at
 * a time: the first sync commits the file system's journal for all of them.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "audit/export.h"

#define TEMPORARY ".tmp"

/* A path in the directory, and of its temporary file. */
typedef char ExportPath[MAXPGPATH + TLOG_PATH_MAX + sizeof(TEMPORARY)];

static void
path_of(const ExportDirectory *directory, const char *name, const char *suffix, ExportPath path)
{
	snprintf(path, sizeof(ExportPath), "%s/%s%s", directory->path, name, suffix);
}

/* ---- Which directory */

pg_noreturn static void
refuse_path(const char *path, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("cannot export the ledger to \"%s\"", path), errdetail("%s", detail),
			 errhint("Name a directory of its own, outside of what belongs to the server.")));
}

/* Whether two directories are one inside the other, either way, or the same. */
static bool
overlap(const char *path, const char *other)
{
	return path_is_prefix_of_path(path, other) || path_is_prefix_of_path(other, path);
}

/* Refuses what overlaps with a directory of the server's, links resolved. */
static void
check_overlap(const char *given, const char *resolved, const char *own)
{
	char *other = realpath(own, NULL);
	bool bad = other != NULL && overlap(resolved, other);

	free(other);
	if (bad)
		refuse_path(given, "It overlaps with a directory of the server's data.");
}

/* The data directory, and what may lie elsewhere: write-ahead log and tablespaces. */
static void
check_own_directories(const char *given, const char *resolved)
{
	char link[MAXPGPATH * 2];
	DIR *spaces;
	struct dirent *entry;

	check_overlap(given, resolved, DataDir);
	snprintf(link, sizeof(link), "%s/pg_wal", DataDir);
	check_overlap(given, resolved, link);
	snprintf(link, sizeof(link), "%s/pg_tblspc", DataDir);
	spaces = AllocateDir(link);
	while ((entry = ReadDir(spaces, link)) != NULL)
	{
		char space[MAXPGPATH * 2];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(space, sizeof(space), "%s/pg_tblspc/%s", DataDir, entry->d_name);
		check_overlap(given, resolved, space);
	}
	FreeDir(spaces);
}

/* Makes a directory if it is not there; what is there under its name must be one. */
static void
make_directory(const char *path)
{
	struct stat status;

	if (mkdir(path, S_IRWXU) == 0)
	{
		char parent[sizeof(ExportPath)];

		strlcpy(parent, path, sizeof(parent));
		get_parent_directory(parent);
		(void) fsync_fname_ext(parent, true, true, ERROR);
		return;
	}
	if (errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not create directory \"%s\": %m", path),
				 errhint("The directory above it must be there, and the server's user "
						 "must be allowed to write to it.")));
	if (lstat(path, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not look at \"%s\": %m", path)));
	if (!S_ISDIR(status.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a directory", path),
				 errdetail("Symbolic links are not followed here."),
				 errhint("Name a directory, or one that is yet to be made.")));
}

/* Where the directory really is: its parent's links are followed, it is none itself. */
static void
resolve_path(const char *given, char *path)
{
	char parent[MAXPGPATH];
	char *resolved;

	strlcpy(path, given, MAXPGPATH);
	canonicalize_path(path);
	if (!is_absolute_path(path) || strcmp(path, "/") == 0)
		refuse_path(given, "The path is not absolute, or is the root directory.");
	strlcpy(parent, path, sizeof(parent));
	get_parent_directory(parent);
	resolved = realpath(parent[0] == '\0' ? "/" : parent, NULL);
	if (resolved == NULL)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not look at directory \"%s\": %m", parent),
						errhint("The directory above the export's must be there.")));
	if (strlen(resolved) + strlen(path) - strlen(parent) >= MAXPGPATH)
	{
		free(resolved);
		refuse_path(given, "The path is too long.");
	}
	memmove(parent, path + strlen(parent), strlen(path) - strlen(parent) + 1);
	snprintf(path, MAXPGPATH, "%s%s", strcmp(resolved, "/") == 0 ? "" : resolved, parent);
	free(resolved);
}

void
export_open(const char *path, ExportDirectory *directory)
{
	memset(directory, 0, sizeof(*directory));
	if (strlen(path) >= MAXPGPATH)
		refuse_path(path, "The path is too long.");
	resolve_path(path, directory->path);
	check_own_directories(path, directory->path);
	make_directory(directory->path);
	directory->lock = OpenTransientFile(directory->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (directory->lock < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open directory \"%s\": %m", directory->path)));
	if (flock(directory->lock, LOCK_EX | LOCK_NB) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("another export is writing to \"%s\"", directory->path),
						errhint("Wait until it has ended, or name another directory.")));
}

void
export_close(ExportDirectory *directory)
{
	CloseTransientFile(directory->lock);
}

bool
export_is_empty(const ExportDirectory *directory)
{
	DIR *dir = AllocateDir(directory->path);
	struct dirent *entry;
	bool empty = true;

	while ((entry = ReadDir(dir, directory->path)) != NULL)
		empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
						  strcmp(entry->d_name, "lost+found") == 0 ||
						  strcmp(entry->d_name, "verifier" TEMPORARY) == 0);
	FreeDir(dir);
	return empty;
}

/* ---- Files */

char *
export_read(const ExportDirectory *directory, const char *name, size_t limit, size_t *length)
{
	ExportPath path;
	struct stat status;
	char *bytes;
	int file;
	ssize_t got = 0;

	path_of(directory, name, "", path);
	/* a FIFO without a writer would never open */
	file = OpenTransientFile(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | PG_BINARY);
	if (file < 0 && errno == ENOENT)
		return NULL;
	if (file < 0 || fstat(file, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	if (!S_ISREG(status.st_mode) || status.st_size > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("file \"%s\" is longer than an export's can be, or is no file", path),
				 errhint("Export into an empty directory.")));
	bytes = palloc(status.st_size + 1);
	*length = 0;
	while (*length < status.st_size &&
		   (got = read(file, bytes + *length, status.st_size - *length)) > 0)
		*length += got;
	if (got < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path)));
	bytes[*length] = '\0';
	CloseTransientFile(file);
	return bytes;
}

bool
export_has(const ExportDirectory *directory, const char *name)
{
	ExportPath path;
	struct stat status;

	path_of(directory, name, "", path);
	return lstat(path, &status) == 0;
}

/* Makes the directories that a file is to be in. */
static void
make_parents(const ExportDirectory *directory, const char *name)
{
	ExportPath path;
	size_t from = strlen(directory->path) + 1;

	path_of(directory, name, "", path);
	for (char *slash = strchr(path + from, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
	{
		*slash = '\0';
		make_directory(path);
		*slash = '/';
	}
}

/* Always a new file: what has its name may be a link to something else. */
static int
create_temporary(const ExportDirectory *directory, const char *name, const char *path)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | PG_BINARY;
	int file;

	if (unlink(path) != 0 && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
	file = OpenTransientFilePerm(path, flags, S_IRUSR | S_IWUSR);
	if (file < 0 && errno == ENOENT)
	{
		make_parents(directory, name);
		file = OpenTransientFilePerm(path, flags, S_IRUSR | S_IWUSR);
	}
	if (file < 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not create file \"%s\": %m", path)));
	return file;
}

void
export_put(ExportDirectory *directory, const char *name, const void *bytes, size_t length)
{
	ExportPath path;
	size_t done = 0;
	int file;

	CHECK_FOR_INTERRUPTS();
	path_of(directory, name, TEMPORARY, path);
	file = create_temporary(directory, name, path);
	while (done < length)
	{
		ssize_t wrote;

		errno = 0;
		wrote = write(file, (const char *) bytes + done, length - done);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
		{
			/* a short write without a reason is a full disk */
			errno = errno == 0 ? ENOSPC : errno;
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not write file \"%s\": %m", path),
					 errhint("Export again when there is room: it goes on where it stopped.")));
		}
		done += wrote;
	}
	if (CloseTransientFile(file) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not close file \"%s\": %m", path)));
	strlcpy(directory->pending[directory->count++], name, TLOG_PATH_MAX);
	if (directory->count == EXPORT_BATCH)
		export_flush(directory);
}

/* Syncs the directory that a file is in, unless it is the same as the last one's. */
static void
sync_parent(const ExportDirectory *directory, const char *name, ExportPath last)
{
	ExportPath path;

	path_of(directory, name, "", path);
	get_parent_directory(path);
	if (strcmp(path, last) == 0)
		return;
	(void) fsync_fname_ext(path, true, false, ERROR);
	strlcpy(last, path, sizeof(ExportPath));
}

void
export_flush(ExportDirectory *directory)
{
	ExportPath path;
	ExportPath final;
	ExportPath last = "";

	for (int i = 0; i < directory->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		path_of(directory, directory->pending[i], TEMPORARY, path);
		(void) fsync_fname_ext(path, false, false, ERROR);
	}
	for (int i = 0; i < directory->count; i++)
	{
		path_of(directory, directory->pending[i], TEMPORARY, path);
		path_of(directory, directory->pending[i], "", final);
		if (rename(path, final) != 0)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not rename file \"%s\" to \"%s\": %m", path, final)));
	}
	for (int i = 0; i < directory->count; i++)
		sync_parent(directory, directory->pending[i], last);
	directory->written += directory->count;
	directory->count = 0;
}

void
export_remove(const ExportDirectory *directory, const char *name)
{
	ExportPath path;

	path_of(directory, name, "", path);
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
	/* the directory of partial tiles stays while there is another one in it */
	get_parent_directory(path);
	(void) rmdir(path);
}
