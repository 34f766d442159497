/*
 * options.c - reads the command line, and says what it may be.
 */
#include "tool/options.h"

#include "core/entry.h"
#include "tool/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_SEGMENT_SIZE 1048576

/* Options that have no letter. */
enum
{
	OPTION_KEY = 256,
	OPTION_KEY_FILE,
	OPTION_CHECKPOINT,
	OPTION_WITNESS,
	OPTION_REQUIRE_WITNESSES,
	OPTION_FROM,
	OPTION_TO,
	OPTION_EVENT,
	OPTION_ENTRY,
	OPTION_PROOF,
	OPTION_ARCHIVE,
	OPTION_SEGMENT_SIZE,
	OPTION_TRUST_ARCHIVE_KEY,
	OPTION_PRUNED,
	OPTION_RESOLVE,
	OPTION_JSON,
	OPTION_QUIET,
	OPTION_HELP
};

/* What each option is called. */
static const struct option option_names[] = {
	{"key", required_argument, NULL, OPTION_KEY},
	{"key-file", required_argument, NULL, OPTION_KEY_FILE},
	{"checkpoint", required_argument, NULL, OPTION_CHECKPOINT},
	{"witness", required_argument, NULL, OPTION_WITNESS},
	{"require-witnesses", required_argument, NULL, OPTION_REQUIRE_WITNESSES},
	{"from", required_argument, NULL, OPTION_FROM},
	{"to", required_argument, NULL, OPTION_TO},
	{"event", required_argument, NULL, OPTION_EVENT},
	{"entry", required_argument, NULL, OPTION_ENTRY},
	{"proof", required_argument, NULL, OPTION_PROOF},
	{"archive", required_argument, NULL, OPTION_ARCHIVE},
	{"segment-size", required_argument, NULL, OPTION_SEGMENT_SIZE},
	{"trust-archive-key", no_argument, NULL, OPTION_TRUST_ARCHIVE_KEY},
	{"pruned", no_argument, NULL, OPTION_PRUNED},
	{"resolve", no_argument, NULL, OPTION_RESOLVE},
	{"json", no_argument, NULL, OPTION_JSON},
	{"quiet", no_argument, NULL, OPTION_QUIET},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

/* What each command takes: how many arguments, and which options besides the ones for all. */
typedef struct Syntax
{
	const char *command;
	int count;
	const char *usage;
	int options[12]; /* 0: the end */
} Syntax;

static const Syntax syntax_table[] = {
	{"verify",
	 1,
	 "verify DIRECTORY (--key VKEY | --key-file FILE | --trust-archive-key)\n"
	 "         [--checkpoint FILE]... [--from N | --pruned] [--witness VKEY]...\n"
	 "         [--require-witnesses N]",
	 {OPTION_KEY, OPTION_KEY_FILE, OPTION_TRUST_ARCHIVE_KEY, OPTION_CHECKPOINT, OPTION_WITNESS,
	  OPTION_REQUIRE_WITNESSES, OPTION_FROM, OPTION_PRUNED}},
	{"proof",
	 1,
	 "proof FILE --key VKEY [--entry FILE] [--witness VKEY]... [--require-witnesses N]",
	 {OPTION_KEY, OPTION_KEY_FILE, OPTION_ENTRY, OPTION_WITNESS, OPTION_REQUIRE_WITNESSES}},
	{"consistency",
	 2,
	 "consistency OLD NEW (--proof FILE | --archive DIRECTORY) --key VKEY\n"
	 "         [--witness VKEY]... [--require-witnesses N]",
	 {OPTION_KEY, OPTION_KEY_FILE, OPTION_PROOF, OPTION_ARCHIVE, OPTION_WITNESS,
	  OPTION_REQUIRE_WITNESSES}},
	{"show",
	 1,
	 "show DIRECTORY|BUNDLE|FILE.tlog-proof|- [--from N] [--to N] [--event NAME]\n"
	 "         [--resolve]",
	 {OPTION_FROM, OPTION_TO, OPTION_EVENT, OPTION_RESOLVE}},
	{"segment",
	 2,
	 "segment DIRECTORY N (--key VKEY | --key-file FILE | --trust-archive-key)\n"
	 "         [--segment-size ENTRIES]",
	 {OPTION_SEGMENT_SIZE, OPTION_KEY, OPTION_KEY_FILE, OPTION_TRUST_ARCHIVE_KEY}},
	{"fetch",
	 2,
	 "fetch CONNINFO DIRECTORY [--key VKEY] [--key-file FILE]",
	 {OPTION_KEY, OPTION_KEY_FILE}},
};

#define SYNTAX_COUNT (sizeof(syntax_table) / sizeof(syntax_table[0]))

static int
print_help(void)
{
	printf("biometric-verify checks a ledger of biometric_audit without its server.\n\nUsage:\n");
	for (size_t i = 0; i < SYNTAX_COUNT; i++)
		printf("  biometric-verify %s\n", syntax_table[i].usage);
	printf("\n  --json     the result, or the entries, as JSON\n"
		   "  --quiet    only problems, and the exit code\n"
		   "  --help     this text\n"
		   "  --version  the release, and its formats\n\n"
		   "Exit codes: 0 verified, 1 does not verify, 2 wrong usage, 3 an input is missing or\n"
		   "malformed, 4 the server cannot be reached or refuses. See biometric-verify(1).\n");
	return TOOL_VERIFIED;
}

static int
print_version(void)
{
	printf("biometric-verify %s\n"
		   "entries of version %d, c2sp.org/tlog-tiles, tlog-checkpoint, tlog-cosignature, "
		   "tlog-proof@v1\n",
		   VERSION, ENTRY_VERSION);
	return TOOL_VERIFIED;
}

static int
usage_error(const Syntax *syntax, const char *what, const char *which)
{
	fprintf(stderr, "biometric-verify: %s%s%s\n", what, which != NULL ? " " : "",
			which != NULL ? which : "");
	if (syntax != NULL)
		fprintf(stderr, "usage: biometric-verify %s\n", syntax->usage);
	else
		fprintf(stderr, "Try \"biometric-verify --help\".\n");
	return TOOL_USAGE;
}

bool
options_number(const char *text, size_t length, uint64_t *number)
{
	uint64_t value = 0;

	if (length == 0 || length > 19 || (length > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t) (text[i] - '0');
	}
	*number = value;
	return true;
}

static bool
read_number(const char *text, uint64_t *number)
{
	return options_number(text, strlen(text), number);
}

bool
options_add(OptionList *list, const char *text)
{
	if (list->count >= OPTIONS_LIST_MAX)
		return false;
	list->texts[list->count++] = text;
	return true;
}

static bool
set_event(Options *options, const char *name)
{
	for (int event = 1; event <= ENTRY_EVENT_LAST; event++)
	{
		if (strcmp(entry_event_name(event), name) == 0)
		{
			options->event = event;
			return true;
		}
	}
	return false;
}

static bool
set_witnesses(Options *options, const char *text)
{
	uint64_t number;

	if (!read_number(text, &number) || number > OPTIONS_LIST_MAX)
		return false;
	options->require_witnesses = (int) number;
	return true;
}

/* A power of 32, as biometric_audit.segment_size can be. */
static bool
set_segment_size(Options *options, const char *text)
{
	return read_number(text, &options->segment_size) &&
		   (options->segment_size == 1024 || options->segment_size == 32768 ||
			options->segment_size == 1048576 || options->segment_size == 33554432);
}

/* Takes one option's value. False when it cannot be. */
static bool
set_option(Options *options, int option, const char *value)
{
	switch (option)
	{
		case OPTION_KEY:
			return options_add(&options->keys, value);
		case OPTION_KEY_FILE:
			return options_add(&options->key_files, value);
		case OPTION_CHECKPOINT:
			return options_add(&options->checkpoints, value);
		case OPTION_WITNESS:
			return options_add(&options->witnesses, value);
		case OPTION_REQUIRE_WITNESSES:
			return set_witnesses(options, value);
		case OPTION_FROM:
			options->has_from = true;
			return read_number(value, &options->from);
		case OPTION_TO:
			return read_number(value, &options->to);
		case OPTION_EVENT:
			return set_event(options, value);
		case OPTION_SEGMENT_SIZE:
			return set_segment_size(options, value);
		case OPTION_ENTRY:
			options->entry_file = value;
			return true;
		case OPTION_PROOF:
			options->proof_file = value;
			return true;
		case OPTION_ARCHIVE:
			options->archive = value;
			return true;
		case OPTION_TRUST_ARCHIVE_KEY:
			options->trust_archive_key = true;
			return true;
		case OPTION_PRUNED:
			options->pruned = true;
			return true;
		case OPTION_RESOLVE:
			options->resolve = true;
			return true;
		default:
			return false;
	}
}

static bool
takes_option(const Syntax *syntax, int option)
{
	for (size_t i = 0; i < sizeof(syntax->options) / sizeof(syntax->options[0]); i++)
	{
		if (syntax->options[i] == option)
			return true;
	}
	return false;
}

const char *
options_name(const struct option *names, int option)
{
	for (const struct option *name = names; name->name != NULL; name++)
	{
		if (name->val == option)
			return name->name;
	}
	return "?";
}

/* Reads what comes behind the command. */
static int
parse_options(const Syntax *syntax, int argc, char **argv, Options *options)
{
	int option;

	while ((option = getopt_long(argc, argv, "", option_names, NULL)) != -1)
	{
		if (option == '?')
			return usage_error(syntax, "see the usage", NULL);
		if (option == OPTION_HELP)
			return print_help();
		if (option == OPTION_JSON)
			options->json = true;
		else if (option == OPTION_QUIET)
			options->quiet = true;
		else if (!takes_option(syntax, option))
			return usage_error(syntax, "this command has no option",
							   options_name(option_names, option));
		else if (!set_option(options, option, optarg))
			return usage_error(syntax, "this cannot be the value of option",
							   options_name(option_names, option));
	}
	if (options->trust_archive_key && options->keys.count + options->key_files.count > 0)
		return usage_error(syntax, "a key that is named is the one that is trusted; leave out",
						   "--trust-archive-key");
	if (options->pruned && options->has_from)
		return usage_error(syntax, "give either --from or --pruned", NULL);
	if (argc - optind != syntax->count)
		return usage_error(syntax, "the number of arguments is not right", NULL);
	for (int i = 0; i < syntax->count; i++)
		options->arguments[options->count++] = argv[optind + i];
	return -1;
}

int
options_parse(int argc, char **argv, Options *options)
{
	memset(options, 0, sizeof(*options));
	options->require_witnesses = -1;
	options->to = UINT64_MAX;
	options->segment_size = DEFAULT_SEGMENT_SIZE;
	if (argc < 2)
		return usage_error(NULL, "no command", NULL);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
		return print_help();
	if (strcmp(argv[1], "--version") == 0)
		return print_version();
	for (size_t i = 0; i < SYNTAX_COUNT; i++)
	{
		if (strcmp(argv[1], syntax_table[i].command) == 0)
		{
			options->command = syntax_table[i].command;
			return parse_options(&syntax_table[i], argc - 1, argv + 1, options);
		}
	}
	return usage_error(NULL, "there is no command", argv[1]);
}
