/*
 * request.c - reads the command line, and says what it may be.
 */
#include "reporter/request.h"

#include "reporter/moment.h"
#include "tool/report.h"

#include <stdio.h>
#include <string.h>

#define PROOFS_MAX 1000000

enum
{
	OPTION_PARTY = 256,
	OPTION_FROM,
	OPTION_TO,
	OPTION_INCIDENT,
	OPTION_KEY,
	OPTION_KEY_FILE,
	OPTION_TRUST_ARCHIVE_KEY,
	OPTION_OUTPUT,
	OPTION_ARCHIVE,
	OPTION_OFFLINE,
	OPTION_PROOFS,
	OPTION_TITLE,
	OPTION_PRUNED,
	OPTION_JSON,
	OPTION_QUIET,
	OPTION_HELP,
	OPTION_VERSION
};

static const struct option option_names[] = {
	{"party", required_argument, NULL, OPTION_PARTY},
	{"from", required_argument, NULL, OPTION_FROM},
	{"to", required_argument, NULL, OPTION_TO},
	{"incident", required_argument, NULL, OPTION_INCIDENT},
	{"key", required_argument, NULL, OPTION_KEY},
	{"key-file", required_argument, NULL, OPTION_KEY_FILE},
	{"trust-archive-key", no_argument, NULL, OPTION_TRUST_ARCHIVE_KEY},
	{"output", required_argument, NULL, OPTION_OUTPUT},
	{"archive", required_argument, NULL, OPTION_ARCHIVE},
	{"offline", no_argument, NULL, OPTION_OFFLINE},
	{"proofs", required_argument, NULL, OPTION_PROOFS},
	{"title", required_argument, NULL, OPTION_TITLE},
	{"pruned", no_argument, NULL, OPTION_PRUNED},
	{"json", no_argument, NULL, OPTION_JSON},
	{"quiet", no_argument, NULL, OPTION_QUIET},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"  biometric-report [CONNINFO] (--party PARTY --from TIME --to TIME | --incident N)\n"
	"         (--key VKEY | --key-file FILE | --trust-archive-key) --output DIRECTORY\n"
	"         [--archive DIRECTORY] [--proofs N] [--title TEXT] [--pruned]\n"
	"  biometric-report --offline --archive DIRECTORY (--party ... | --incident N)\n"
	"         (--key ...) --output DIRECTORY [--proofs N] [--title TEXT] [--pruned]\n";

static int
print_help(void)
{
	printf("biometric-report says what images a party has received, and proves it.\n\nUsage:\n%s\n"
		   "Times are ISO 8601, UTC unless they say otherwise: 2019-05-03, 2019-05-03T08:00Z.\n"
		   "The period ends just before --to.\n\n"
		   "  --archive   the ledger's archive, brought up to date; else DIRECTORY/ledger\n"
		   "  --offline   no server: everything from the archive\n"
		   "  --proofs N  proofs for the first N disclosures (%d)\n"
		   "  --pruned    begin where the archive begins\n"
		   "  --json      the result as JSON\n"
		   "  --quiet     only problems, and the exit code\n"
		   "  --version   the release, and its formats\n\n"
		   "Exit codes: 0 verified, all figures equal; 1 something does not verify or differs;\n"
		   "2 wrong usage; 3 a file cannot be read or written; 4 the server cannot be reached\n"
		   "or refuses. See biometric-report(1).\n",
		   usage, REQUEST_PROOFS);
	return TOOL_VERIFIED;
}

static int
usage_error(const char *what, const char *which)
{
	fprintf(stderr, "biometric-report: %s%s%s\nusage:\n%s", what, which != NULL ? " --" : "",
			which != NULL ? which : "", usage);
	return TOOL_USAGE;
}

static bool
set_moment(const char *text, int64_t *moment, unsigned *given, unsigned bit)
{
	*given |= bit;
	return moment_parse(text, strlen(text), moment);
}

static bool
set_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
	return options_number(text, strlen(text), number) && *number >= least && *number <= most;
}

/* Takes an option that is a flag. False: it is none. */
static bool
set_flag(Request *request, int option)
{
	switch (option)
	{
		case OPTION_TRUST_ARCHIVE_KEY:
			request->keys.trust_archive_key = true;
			return true;
		case OPTION_OFFLINE:
			request->offline = true;
			return true;
		case OPTION_PRUNED:
			request->pruned = true;
			return true;
		case OPTION_JSON:
			request->json = true;
			return true;
		case OPTION_QUIET:
			request->quiet = true;
			return true;
		default:
			return false;
	}
}

/* Takes one option's value. given: bits of --from and --to. False when it cannot be. */
static bool
set_option(Request *request, int option, const char *value, unsigned *given)
{
	switch (option)
	{
		case OPTION_PARTY:
			request->party = value;
			return true;
		case OPTION_FROM:
			return set_moment(value, &request->from, given, 1);
		case OPTION_TO:
			return set_moment(value, &request->to, given, 2);
		case OPTION_INCIDENT:
			return set_number(value, 1, INT64_MAX, &request->incident);
		case OPTION_KEY:
			return options_add(&request->keys.keys, value);
		case OPTION_KEY_FILE:
			return options_add(&request->keys.key_files, value);
		case OPTION_OUTPUT:
			request->output = value;
			return value[0] != '\0';
		case OPTION_ARCHIVE:
			request->archive = value;
			return value[0] != '\0';
		case OPTION_PROOFS:
			return set_number(value, 0, PROOFS_MAX, &request->proofs);
		case OPTION_TITLE:
			request->title = value;
			return true;
		default:
			return set_flag(request, option);
	}
}

/* Checks that what was given goes together. */
static int
check_request(const Request *request, unsigned given)
{
	int keys = request->keys.keys.count + request->keys.key_files.count;

	if (request->output == NULL)
		return usage_error("a report needs", "output");
	if ((request->party != NULL) == (request->incident != 0))
		return usage_error("give either a party and a period, or", "incident");
	if (request->party != NULL && given != 3)
		return usage_error("a party needs a period: --from and", "to");
	if (request->incident != 0 && given != 0)
		return usage_error("an incident has its own period; leave out --from and", "to");
	if (request->party != NULL && request->from >= request->to)
		return usage_error("the period is empty: --from is not before", "to");
	if (request->keys.trust_archive_key && keys > 0)
		return usage_error("a key that is named is the one that is trusted; leave out",
						   "trust-archive-key");
	if (!request->keys.trust_archive_key && keys == 0)
		return usage_error("whose signatures count? Give --key, --key-file or",
						   "trust-archive-key");
	if (request->offline && request->archive == NULL)
		return usage_error("without a server there must be an", "archive");
	if (request->offline && request->conninfo[0] != '\0')
		return usage_error("a report is made either from a server or", "offline");
	return -1;
}

int
request_parse(int argc, char **argv, Request *request)
{
	unsigned given = 0;
	int option;

	memset(request, 0, sizeof(*request));
	request->conninfo = "";
	request->proofs = REQUEST_PROOFS;
	request->keys.require_witnesses = -1;
	while ((option = getopt_long(argc, argv, "", option_names, NULL)) != -1)
	{
		if (option == OPTION_HELP)
			return print_help();
		if (option == OPTION_VERSION)
		{
			printf("biometric-report %s\n", VERSION);
			return TOOL_VERIFIED;
		}
		if (option == '?')
			return usage_error("see the usage", NULL);
		if (!set_option(request, option, optarg, &given))
			return usage_error("this cannot be the value of option",
							   options_name(option_names, option));
	}
	if (argc - optind > 1)
		return usage_error("there is one argument at most, the server's connection string", NULL);
	if (optind < argc)
		request->conninfo = argv[optind];
	return check_request(request, given);
}
