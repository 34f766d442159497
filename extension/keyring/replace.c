/*
 * replace.c - writes a keyring's file anew, and leaves nothing of the old one.
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "keyring/replace.h"

/* How long a change waits for others to be done, and how often it looks. */
#define LOCK_TIMEOUT_MS 10000
#define LOCK_LOOK_US 10000L

#define CHANGE_HINT                                                                                \
	"Keep the keyring in a directory of its own that the server's user owns and may write, on a "  \
	"file system with room; or change the file by hand."

/* A file that is being replaced. */
typedef struct Replacing
{
	char path[PATH_MAX]; /* without symbolic links */
	char beside[PATH_MAX];
	int lock;	   /* descriptors; -1: not open */
	int old;	   /* to overwrite it */
	int directory; /* to flush it */
	struct stat status;
} Replacing;

/* Names the file with something behind its name. */
static bool
name_beside(const char *path, const char *suffix, char *result, KeyringProblem *problem)
{
	if (snprintf(result, PATH_MAX, "%s%s", path, suffix) < PATH_MAX)
		return true;
	return keyring_refuse(problem, CHANGE_HINT, "Its path is too long.");
}

static bool
find_real_path(const KeyringPlace *place, char *path, KeyringProblem *problem)
{
	snprintf(problem->message, sizeof(problem->message), "keyring file \"%s\" cannot be changed",
			 place->file);
	if (realpath(place->file, path) == NULL)
		return keyring_refuse(problem, CHANGE_HINT, "Its real path cannot be determined: %s.",
							  strerror(errno));
	return true;
}

/* Opens the directory that a path is in; -1 with errno. */
static int
open_directory(const char *path)
{
	char directory[PATH_MAX];
	char *slash;

	strlcpy(directory, path, sizeof(directory));
	slash = strrchr(directory, '/');
	slash[slash == directory ? 1 : 0] = '\0';
	return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Waits for the lock beside the file, as long as others may need for a change. */
static bool
take_lock(Replacing *file, KeyringProblem *problem)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOCK_TIMEOUT_MS);

	if (!name_beside(file->path, ".lock", file->beside, problem))
		return false;
	file->lock = open(file->beside, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file->lock < 0)
		return keyring_refuse(problem, CHANGE_HINT, "\"%s\" cannot be opened: %s.", file->beside,
							  strerror(errno));
	while (flock(file->lock, LOCK_EX | LOCK_NB) != 0)
	{
		if (errno != EWOULDBLOCK && errno != EINTR)
			return keyring_refuse(problem, CHANGE_HINT, "\"%s\" cannot be locked: %s.",
								  file->beside, strerror(errno));
		if (QueryCancelPending || ProcDiePending || GetCurrentTimestamp() >= end)
			return keyring_refuse(problem, "Try again when the other change is over.",
								  "Another server is changing it.");
		pg_usleep(LOCK_LOOK_US);
	}
	return true;
}

static bool
write_all(int descriptor, const char *bytes, Size length)
{
	while (length > 0)
	{
		ssize_t written = write(descriptor, bytes, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
		{
			if (written == 0)
				errno = ENOSPC;
			return false;
		}
		bytes += written;
		length -= (Size) written;
	}
	return true;
}

/* Overwrites the bytes of an open file where they are, as far as the file system does that. */
static bool
overwrite(int descriptor)
{
	static const char zeroes[4096];
	struct stat status;

	if (fstat(descriptor, &status) != 0 || lseek(descriptor, 0, SEEK_SET) != 0)
		return false;
	for (off_t left = status.st_size; left > 0; left -= Min(left, (off_t) sizeof(zeroes)))
		if (!write_all(descriptor, zeroes, Min(left, (off_t) sizeof(zeroes))))
			return false;
	return fsync(descriptor) == 0;
}

/* Removes what is at the place of the new file; bytes that are ours are overwritten first. */
static bool
remove_leftover(const char *path, KeyringProblem *problem)
{
	struct stat status;
	int descriptor;

	if (lstat(path, &status) != 0)
		return errno == ENOENT || keyring_refuse(problem, CHANGE_HINT, "\"%s\" is in the way: %s.",
												 path, strerror(errno));
	if (S_ISREG(status.st_mode) && status.st_nlink == 1 && status.st_uid == geteuid())
	{
		(void) chmod(path, S_IRUSR | S_IWUSR);
		descriptor = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		if (descriptor >= 0)
		{
			(void) overwrite(descriptor);
			close(descriptor);
		}
	}
	if (unlink(path) == 0)
		return true;
	return keyring_refuse(problem, CHANGE_HINT, "\"%s\" is in the way: %s.", path, strerror(errno));
}

/* The new file belongs to whom the old one belongs to, with the same mode. */
static bool
keep_owner(const Replacing *file, int descriptor)
{
	struct stat made;

	if (fstat(descriptor, &made) != 0)
		return false;
	if ((made.st_uid != file->status.st_uid || made.st_gid != file->status.st_gid) &&
		fchown(descriptor, file->status.st_uid, file->status.st_gid) != 0 &&
		made.st_uid != file->status.st_uid)
		return false;
	return fchmod(descriptor, file->status.st_mode & 07777) == 0;
}

/* Writes the new file and flushes it. On failure nothing is left of it. */
static bool
write_new(Replacing *file, const SecretMemory *text, KeyringProblem *problem)
{
	int descriptor;
	bool done;
	int reason;

	if (!name_beside(file->path, ".new", file->beside, problem) ||
		!remove_leftover(file->beside, problem))
		return false;
	descriptor =
		open(file->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	if (descriptor < 0)
		return keyring_refuse(problem, CHANGE_HINT, "\"%s\" cannot be made: %s.", file->beside,
							  strerror(errno));
	done = write_all(descriptor, text->memory, text->used) && keep_owner(file, descriptor) &&
		   fsync(descriptor) == 0;
	reason = errno;
	done = close(descriptor) == 0 && done;
	if (done)
		return true;
	(void) remove_leftover(file->beside, problem);
	return keyring_refuse(problem, CHANGE_HINT, "\"%s\" cannot be written: %s.", file->beside,
						  strerror(reason));
}

/* Opens the file to overwrite it when it has been replaced: after that it has no name. */
static bool
open_old(Replacing *file, const KeyringText *read, KeyringProblem *problem)
{
	bool same;

	if (stat(file->path, &file->status) != 0)
		return keyring_refuse(problem, CHANGE_HINT, "Its status cannot be read: %s.",
							  strerror(errno));
	same = file->status.st_dev == read->mark.device && file->status.st_ino == read->mark.inode;
	if (same && (file->status.st_mode & S_IWUSR) == 0)
		(void) chmod(file->path, (file->status.st_mode & 07777) | S_IWUSR);
	file->old = same ? open(file->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (same && (file->status.st_mode & S_IWUSR) == 0)
		(void) chmod(file->path, file->status.st_mode & 07777);
	if (!same)
		return keyring_refuse(problem, "Try again.", "It was replaced meanwhile.");
	if (file->old < 0)
		return keyring_refuse(problem, CHANGE_HINT, "It cannot be opened for writing: %s.",
							  strerror(errno));
	return true;
}

/* Puts the new file in the place of the old one, unless somebody has changed that by hand. */
static bool
rename_new(Replacing *file, const KeyringText *read, KeyringProblem *problem)
{
	struct stat now;

	if (stat(file->path, &now) != 0 || now.st_ino != read->mark.inode ||
		now.st_size != read->mark.size || now.st_mtim.tv_sec != read->mark.modified.tv_sec ||
		now.st_mtim.tv_nsec != read->mark.modified.tv_nsec)
	{
		(void) remove_leftover(file->beside, problem);
		return keyring_refuse(problem, "Try again.", "It was changed by hand meanwhile.");
	}
	if (rename(file->beside, file->path) == 0)
		return true;
	keyring_refuse(problem, CHANGE_HINT, "It cannot be replaced: %s.", strerror(errno));
	(void) remove_leftover(file->beside, problem);
	return false;
}

/*
 * What remains once the file is another. The name may still lead to the old one after a crash if
 * the directory is not flushed, so its bytes are all there is then. Returns what could not be
 * done, or NULL.
 */
static const char *
finish(Replacing *file)
{
	if (fsync(file->directory) != 0 && errno != EINVAL)
		return "the keyring was replaced, but its directory could not be flushed, so that the "
			   "bytes of the old file were left";
	if (!overwrite(file->old))
		return "the keyring was replaced, but the bytes of the old file could not be overwritten";
	return NULL;
}

static bool
open_to_flush(Replacing *file, KeyringProblem *problem)
{
	file->directory = open_directory(file->path);
	return file->directory >= 0 ||
		   keyring_refuse(problem, CHANGE_HINT, "Its directory cannot be opened to flush it: %s.",
						  strerror(errno));
}

static bool
replace_locked(Replacing *file, const KeyringPlace *place, ReplaceEdit edit, void *context,
			   KeyringProblem *problem, const char **warning)
{
	KeyringText now = {0};
	SecretMemory text = {0};
	bool done;

	done = name_beside(file->path, ".new", file->beside, problem) &&
		   remove_leftover(file->beside, problem) && place_read(place, &now, problem) &&
		   edit(context, &now, &text, problem);
	if (done && text.memory != NULL)
	{
		snprintf(problem->message, sizeof(problem->message),
				 "keyring file \"%s\" cannot be changed", place->file);
		done = open_to_flush(file, problem) && open_old(file, &now, problem) &&
			   write_new(file, &text, problem) && rename_new(file, &now, problem);
		if (done)
			*warning = finish(file);
	}
	secret_free(&text);
	place_free(&now);
	return done;
}

bool
replace_file(const KeyringPlace *place, ReplaceEdit edit, void *context, KeyringProblem *problem,
			 const char **warning)
{
	Replacing file = {.lock = -1, .old = -1, .directory = -1};
	bool done;

	*warning = NULL;
	done = find_real_path(place, file.path, problem) && take_lock(&file, problem) &&
		   replace_locked(&file, place, edit, context, problem, warning);
	if (file.directory >= 0)
		close(file.directory);
	if (file.old >= 0)
		close(file.old);
	if (file.lock >= 0)
		close(file.lock);
	return done;
}

bool
replace_possible(const KeyringPlace *place, KeyringProblem *problem)
{
	char path[PATH_MAX];
	int directory;
	bool writable;
	int reason;

	if (!find_real_path(place, path, problem))
		return false;
	directory = open_directory(path);
	writable = directory >= 0 && faccessat(directory, ".", W_OK | X_OK, AT_EACCESS) == 0;
	reason = errno;
	if (directory >= 0)
		close(directory);
	if (writable)
		return true;
	return keyring_refuse(problem, CHANGE_HINT, "Its directory cannot be written: %s.",
						  strerror(reason));
}
