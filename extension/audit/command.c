/*
 * command.c - runs biometric_audit.checkpoint_command beside the process that asked for it.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "audit/command.h"

/* What a program may need of the server's environment; passwords may be in the rest. */
static const char *const passed_on[] = {"PATH",	  "HOME",	  "LANG",		 "LANGUAGE",
										"LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LOGNAME",
										"SHELL",  "TMPDIR",	  "TZ",			 "USER"};

/* Letters and marks that mean nothing to a shell. */
static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
							"_-./:@,+";

static void
append_word(StringInfo line, const char *value)
{
	if (value[0] != '\0' && strspn(value, plain) == strlen(value))
	{
		appendStringInfoString(line, value);
		return;
	}
	appendStringInfoChar(line, '\'');
	for (; *value != '\0'; value++)
		if (*value == '\'')
			appendStringInfoString(line, "'\\''");
		else
			appendStringInfoChar(line, *value);
	appendStringInfoChar(line, '\'');
}

static const char *
value_of(char letter, const CommandValue *values, int count)
{
	for (int i = 0; i < count; i++)
		if (values[i].letter == letter)
			return values[i].value;
	return NULL;
}

char *
command_expand(const char *line, const CommandValue *values, int count)
{
	StringInfoData result;

	initStringInfo(&result);
	for (; *line != '\0'; line++)
	{
		const char *value = line[0] == '%' ? value_of(line[1], values, count) : NULL;

		if (value != NULL)
			append_word(&result, value);
		else
			appendStringInfoChar(&result, line[0]);
		if (value != NULL || (line[0] == '%' && line[1] == '%'))
			line++;
	}
	return result.data;
}

/* The environment of a command; NULL-terminated, palloc'd. */
static char **
command_environment(void)
{
	char **result = palloc((lengthof(passed_on) + 1) * sizeof(char *));
	int count = 0;

	for (int i = 0; i < (int) lengthof(passed_on); i++)
	{
		const char *value = getenv(passed_on[i]);

		if (value != NULL)
			result[count++] = psprintf("%s=%s", passed_on[i], value);
	}
	result[count] = NULL;
	return result;
}

/* Signals are as a program expects them; the process group is its own. */
static int
set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none;
	sigset_t all;
	int result;

	sigemptyset(&none);
	sigfillset(&all);
	result = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
													  POSIX_SPAWN_SETSIGMASK);
	if (result == 0)
		result = posix_spawnattr_setpgroup(attributes, 0);
	if (result == 0)
		result = posix_spawnattr_setsigdefault(attributes, &all);
	if (result == 0)
		result = posix_spawnattr_setsigmask(attributes, &none);
	return result;
}

static int
set_files(posix_spawn_file_actions_t *actions, const char *input, int output)
{
	int result = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, input, O_RDONLY, 0);

	if (result == 0)
		result = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
	if (result == 0)
		result = posix_spawn_file_actions_adddup2(actions, output, STDERR_FILENO);
	return result;
}

static int
spawn(const char *line, const char *input, int output, pid_t *pid)
{
	char *arguments[] = {"sh", "-c", (char *) line, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int result;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0)
	{
		posix_spawn_file_actions_destroy(&actions);
		return ENOMEM;
	}
	result = set_files(&actions, input, output);
	if (result == 0)
		result = set_attributes(&attributes);
	if (result == 0)
		result =
			posix_spawn(pid, "/bin/sh", &actions, &attributes, arguments, command_environment());
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

bool
command_start(Command *command, const char *line, const char *input, int timeout_ms,
			  char problem[COMMAND_PROBLEM_SIZE])
{
	int ends[2];
	int reason;

	memset(command, 0, sizeof(*command));
	if (pipe2(ends, O_CLOEXEC) != 0)
	{
		snprintf(problem, COMMAND_PROBLEM_SIZE, "no pipe could be made: %s", strerror(errno));
		return false;
	}
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
		reason = errno;
	else
		reason = spawn(line, input, ends[1], &command->pid);
	close(ends[1]);
	if (reason != 0)
	{
		close(ends[0]);
		command->pid = 0;
		snprintf(problem, COMMAND_PROBLEM_SIZE, "/bin/sh could not be started: %s",
				 strerror(reason));
		return false;
	}
	command->output = ends[0];
	command->timeout_ms = timeout_ms;
	command->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	return true;
}

/* Keeps the first line, in characters that may be shown anywhere. */
static void
keep_line(Command *command, const char *bytes, ssize_t length)
{
	for (ssize_t i = 0; i < length && !command->line_over; i++)
	{
		char byte = bytes[i];

		if (byte == '\n' ? command->line_length > 0
						 : command->line_length == sizeof(command->line) - 1)
			command->line_over = true;
		else if (byte != '\n')
			command->line[command->line_length++] = byte >= ' ' && byte < 0x7f ? byte : '?';
	}
}

/* As much as is there, but not for ever: a command may print faster than this reads. */
static void
read_output(Command *command)
{
	char bytes[4096];

	for (int i = 0; i < 64; i++)
	{
		ssize_t length = read(command->output, bytes, sizeof(bytes));

		if (length <= 0)
			return;
		keep_line(command, bytes, length);
	}
}

static void
describe_end(const Command *command, int status, CommandEnd *end)
{
	const char *colon = command->line_length > 0 ? ": " : "";

	end->status = WIFEXITED(status) && !command->late ? WEXITSTATUS(status) : -1;
	end->problem[0] = '\0';
	if (command->late)
		snprintf(end->problem, sizeof(end->problem), "did not end within %d ms%s%s",
				 command->timeout_ms, colon, command->line);
	else if (WIFSIGNALED(status))
		snprintf(end->problem, sizeof(end->problem), "was ended by signal %d%s%s", WTERMSIG(status),
				 colon, command->line);
	else if (end->status != 0)
		snprintf(end->problem, sizeof(end->problem), "exit status %d%s%s", end->status, colon,
				 command->line);
}

bool
command_poll(Command *command, CommandEnd *end)
{
	int status = 0;
	pid_t waited;

	waited = waitpid(command->pid, &status, WNOHANG);
	read_output(command);
	if (waited == 0 || (waited < 0 && errno == EINTR))
	{
		if (!command->late && GetCurrentTimestamp() >= command->deadline)
		{
			command->late = true;
			(void) kill(-command->pid, SIGKILL);
		}
		return false;
	}
	if (waited < 0)
	{
		end->status = -1;
		snprintf(end->problem, sizeof(end->problem), "its end was missed");
	}
	else
		describe_end(command, status, end);
	close(command->output);
	command->pid = 0;
	return true;
}

void
command_kill(Command *command)
{
	if (command->pid == 0)
		return;
	(void) kill(-command->pid, SIGKILL);
	while (waitpid(command->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(command->output);
	command->pid = 0;
}
