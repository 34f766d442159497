/*
 * command.h - runs biometric_audit.checkpoint_command beside the process that asked for
 * it, which looks in from time to time and never waits.
 *
 * Private to the anchor process. The command is a process group of its own, so that it is ended
 * with all that it started. Of the server's environment it gets what programs need to find
 * their way (PATH, HOME, language, time zone), and no more. What it prints, to either
 * output, is read and dropped, but for its first line.
 */
#ifndef BIOMETRIC_AUDIT_COMMAND_H
#define BIOMETRIC_AUDIT_COMMAND_H

#include "postgres.h"

#include "datatype/timestamp.h"

#define COMMAND_LINE_SIZE 160
#define COMMAND_PROBLEM_SIZE 256

/* A command that runs, or none. Zero-initialised: none. */
typedef struct Command
{
	pid_t pid;	/* 0: none */
	int output; /* our end of what it prints; meaningless without pid */
	TimestampTz deadline;
	bool late; /* it was killed at its deadline */
	int timeout_ms;
	bool line_over;
	Size line_length;
	char line[COMMAND_LINE_SIZE]; /* the first line that it has printed */
} Command;

/* How a command ended. */
typedef struct CommandEnd
{
	int status;							/* its exit status; -1: it did not exit by itself */
	char problem[COMMAND_PROBLEM_SIZE]; /* "" for status 0; else what is to be shown */
} CommandEnd;

/* What stands for one of the letters behind a percent sign. */
typedef struct CommandValue
{
	char letter;
	const char *value;
} CommandValue;

/*
 * command_expand puts values into a command line, palloc'd: each as one word for
 * the shell, in quotes where it has other characters than letters, digits and a
 * few marks. %% is a percent sign; any other letter stays as it is.
 */
extern char *command_expand(const char *line, const CommandValue *values, int count);

/*
 * command_start runs a command line by /bin/sh, with input (a path) as its standard input.
 * False, with problem filled in, when it cannot be started.
 */
extern bool command_start(Command *command, const char *line, const char *input, int timeout_ms,
						  char problem[COMMAND_PROBLEM_SIZE]);

/*
 * command_poll reads what a command has printed, kills it when its time is over, and
 * returns true, with its end, once it has ended. Never waits.
 */
extern bool command_poll(Command *command, CommandEnd *end);

/* command_kill ends a command at once, if one runs. */
extern void command_kill(Command *command);

#endif
