/*
 * source.c - the file or the command that a keyring is read from.
 *
 * A file is judged by its open descriptor, so that what was checked is what is
 * read.
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/fd.h"

#include "core/seal.h"
#include "keyring/source.h"

#define COMMAND_TIMEOUT_MS 10000

/* How often it is looked whether the statement was cancelled, which may come between two calls. */
#define CANCEL_LOOK_MS 100

#define FILE_HINT                                                                                  \
	"Put it into a file of its own with mode 0600, owned by the server's user, outside the data "  \
	"directory, then reload the configuration."
#define COMMAND_HINT                                                                               \
	"Run the command as the server's user and see what it says, then reload the configuration."

extern char **environ;

bool
keyring_refuse(KeyringProblem *problem, const char *hint, const char *detail, ...)
{
	va_list arguments;

	problem->hint = hint;
	va_start(arguments, detail);
	vsnprintf(problem->detail, sizeof(problem->detail), detail, arguments);
	va_end(arguments);
	return false;
}

/*
 * Locking and the two advices are best effort: a system that refuses them
 * (RLIMIT_MEMLOCK, an old kernel) shall not lose its keys for it.
 */
bool
secret_allocate(SecretMemory *secret, Size size)
{
	Size page = (Size) sysconf(_SC_PAGESIZE);

	secret->size = (size + page - 1) / page * page;
	secret->used = 0;
	secret->memory =
		mmap(NULL, secret->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (secret->memory == MAP_FAILED)
	{
		secret->memory = NULL;
		secret->size = 0;
		return false;
	}
	(void) mlock(secret->memory, secret->size);
#ifdef MADV_DONTDUMP
	(void) madvise(secret->memory, secret->size, MADV_DONTDUMP);
#endif
#ifdef MADV_DONTFORK
	(void) madvise(secret->memory, secret->size, MADV_DONTFORK);
#endif
	return true;
}

void
secret_free(SecretMemory *secret)
{
	if (secret->memory != NULL)
	{
		core_wipe(secret->memory, secret->size);
		(void) munmap(secret->memory, secret->size);
	}
	memset(secret, 0, sizeof(*secret));
}

/* Is path, absolute and without symbolic links, the data directory or below it? */
static bool
inside_data_directory(const char *path)
{
	char directory[PATH_MAX];
	Size length;

	if (realpath(DataDir, directory) == NULL)
		return true;
	length = strlen(directory);
	return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/*
 * Base backups and file-level copies take the data directory along: a key in
 * it would travel with what it seals, by whatever name it is reached.
 */
static bool
file_place_allowed(const char *path, const struct stat *opened, KeyringProblem *problem)
{
	char real[PATH_MAX];
	struct stat found;

	if (realpath(path, real) == NULL || stat(real, &found) != 0)
		return keyring_refuse(problem, FILE_HINT, "Its real path cannot be determined: %s.",
							  strerror(errno));
	if (found.st_dev != opened->st_dev || found.st_ino != opened->st_ino)
		return keyring_refuse(problem, FILE_HINT, "It was replaced while it was being opened.");
	if (inside_data_directory(real))
		return keyring_refuse(problem, FILE_HINT,
							  "It lies inside the data directory, where every backup would "
							  "hold it beside what it protects.");
	if (opened->st_nlink > 1)
		return keyring_refuse(problem, FILE_HINT,
							  "It has %lu hard links; the others may be anywhere.",
							  (unsigned long) opened->st_nlink);
	return true;
}

static bool
file_safe(const char *path, int descriptor, KeyringProblem *problem)
{
	struct stat status;

	if (fstat(descriptor, &status) != 0)
		return keyring_refuse(problem, FILE_HINT, "Its status cannot be read: %s.",
							  strerror(errno));
	if (!S_ISREG(status.st_mode))
		return keyring_refuse(problem, FILE_HINT, "It is not a regular file.");
	if (status.st_uid != geteuid() && status.st_uid != 0)
		return keyring_refuse(problem, FILE_HINT, "It must be owned by the server's user or root.");
	if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return keyring_refuse(problem, FILE_HINT,
							  "Its mode is %04o; group and others must have no permission.",
							  (unsigned int) (status.st_mode & 07777));
	if (status.st_size >= KEYRING_MAX_SIZE)
		return keyring_refuse(problem, FILE_HINT, "It has %d bytes or more.", KEYRING_MAX_SIZE);
	return file_place_allowed(path, &status, problem);
}

/* Milliseconds left until timeout_ms after start; 0 when it is over. */
static int
milliseconds_left(instr_time start, int timeout_ms)
{
	instr_time now;
	double left;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	left = timeout_ms - INSTR_TIME_GET_MILLISEC(now);
	return left > 0 ? (int) left + 1 : 0;
}

static bool
is_cancelled(void)
{
	return (QueryCancelPending || ProcDiePending) && INTERRUPTS_CAN_BE_PROCESSED();
}

/*
 * Reads until the end, straight into the secret memory, so that no buffered
 * copy stays behind. start: NULL to wait as long as it takes. Returns false
 * with errno set, EFBIG when the memory is full, ETIMEDOUT at the timeout, ECANCELED.
 */
static bool
read_all(int descriptor, SecretMemory *text, const instr_time *start, bool cancellable)
{
	for (;;)
	{
		ssize_t got;

		if (start != NULL)
		{
			struct pollfd waiting = {.fd = descriptor, .events = POLLIN};
			int left = milliseconds_left(*start, COMMAND_TIMEOUT_MS);

			if (left == 0 || (cancellable && is_cancelled()))
			{
				errno = left == 0 ? ETIMEDOUT : ECANCELED;
				return false;
			}
			if (poll(&waiting, 1, Min(left, CANCEL_LOOK_MS)) <= 0)
				continue;
		}
		if (text->used == text->size)
		{
			errno = EFBIG;
			return false;
		}
		got = read(descriptor, (char *) text->memory + text->used, text->size - text->used);
		if (got == 0)
			return true;
		if (got > 0)
			text->used += (Size) got;
		else if (errno != EINTR)
			return false;
	}
}

bool
secret_read_file(const char *what, const char *path, SecretMemory *text, KeyringProblem *problem)
{
	int descriptor;
	bool read_it;

	memset(text, 0, sizeof(*text));
	snprintf(problem->message, sizeof(problem->message), "%s \"%s\" cannot be used", what, path);
	if (!is_absolute_path(path))
		return keyring_refuse(problem, FILE_HINT, "Its path must be absolute.");
	/* O_NONBLOCK: opening a FIFO must not hang the session */
	descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return keyring_refuse(problem, FILE_HINT, "It cannot be opened: %s.", strerror(errno));
	if (!file_safe(path, descriptor, problem))
	{
		close(descriptor);
		return false;
	}
	if (!secret_allocate(text, KEYRING_MAX_SIZE))
	{
		close(descriptor);
		return keyring_refuse(problem, FILE_HINT, "There is no memory.");
	}
	read_it = read_all(descriptor, text, NULL, false);
	if (!read_it)
	{
		keyring_refuse(problem, FILE_HINT, "It cannot be read: %s.", strerror(errno));
		secret_free(text);
	}
	close(descriptor);
	return read_it;
}

bool
keyring_read_file(const char *path, SecretMemory *text, KeyringProblem *problem)
{
	return secret_read_file("keyring file", path, text, problem);
}

/*
 * The child is a process group of its own, so that a command that hangs can be
 * killed with all it started; signals are as a program expects them.
 */
static int
command_start(const char *command, int output, pid_t *child)
{
	char *arguments[] = {"sh", "-c", (char *) command, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	sigset_t all;
	int result;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0)
	{
		posix_spawn_file_actions_destroy(&actions);
		return ENOMEM;
	}
	result = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	if (result == 0)
		result = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (result == 0)
		result = posix_spawnattr_setflags(
			&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	if (result == 0)
		result = posix_spawnattr_setpgroup(&attributes, 0);
	if (result == 0)
		result = posix_spawnattr_setsigdefault(&attributes, &all);
	if (result == 0)
		result = posix_spawnattr_setsigmask(&attributes, &none);
	if (result == 0)
		result = posix_spawn(child, "/bin/sh", &actions, &attributes, arguments, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

/*
 * Waits for a child, and kills it at the timeout, or when the statement is cancelled: it may have
 * closed its output and gone on. True if it ended by itself with status 0.
 */
static bool
command_finish(pid_t child, instr_time start, bool cancellable)
{
	int status = 0;
	pid_t waited;

	while ((waited = waitpid(child, &status, WNOHANG)) == 0 || (waited < 0 && errno == EINTR))
	{
		if (milliseconds_left(start, COMMAND_TIMEOUT_MS) == 0 || (cancellable && is_cancelled()))
			kill(-child, SIGKILL);
		pg_usleep(1000L);
	}
	return waited == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Reads what a started command prints. On failure the child is gone too. */
static bool
command_read(pid_t child, int input, bool cancellable, SecretMemory *text, KeyringProblem *problem)
{
	instr_time start;

	INSTR_TIME_SET_CURRENT(start);
	if (!read_all(input, text, &start, cancellable))
	{
		int reason = errno;

		kill(-child, SIGKILL);
		(void) command_finish(child, start, cancellable);
		if (reason == ETIMEDOUT)
			return keyring_refuse(problem, COMMAND_HINT, "It did not end within %d ms.",
								  COMMAND_TIMEOUT_MS);
		if (reason == EFBIG)
			return keyring_refuse(problem, COMMAND_HINT, "It printed %d bytes or more.",
								  KEYRING_MAX_SIZE);
		return keyring_refuse(problem, COMMAND_HINT, "Its output cannot be read: %s.",
							  strerror(reason));
	}
	if (!command_finish(child, start, cancellable))
		return keyring_refuse(problem, COMMAND_HINT, "It did not end with exit status 0.");
	return true;
}

bool
keyring_read_command(const char *setting, const char *command, bool cancellable, SecretMemory *text,
					 KeyringProblem *problem)
{
	int ends[2];
	pid_t child;
	int reason;
	bool read_it;

	memset(text, 0, sizeof(*text));
	snprintf(problem->message, sizeof(problem->message), "%s cannot be used", setting);
	if (pipe2(ends, O_CLOEXEC) != 0)
		return keyring_refuse(problem, COMMAND_HINT, "No pipe can be made: %s.", strerror(errno));
	if (!secret_allocate(text, KEYRING_MAX_SIZE))
	{
		close(ends[0]);
		close(ends[1]);
		return keyring_refuse(problem, COMMAND_HINT, "There is no memory.");
	}
	reason = command_start(command, ends[1], &child);
	close(ends[1]);
	if (reason == 0)
		read_it = command_read(child, ends[0], cancellable, text, problem);
	else
		read_it = keyring_refuse(problem, COMMAND_HINT, "/bin/sh cannot be started: %s.",
								 strerror(reason));
	close(ends[0]);
	if (!read_it)
		secret_free(text);
	return read_it;
}
