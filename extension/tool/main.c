/*
 * main.c - biometric-verify: a ledger, checked by somebody who trusts neither
 * the server that wrote it nor its owner.
 */
#include "tool/commands.h"

#include <string.h>

typedef struct Command
{
	const char *name;
	ToolExit (*run)(const Options *options);
} Command;

static const Command command_table[] = {
	{"verify", command_verify}, {"proof", command_proof},	  {"consistency", command_consistency},
	{"show", command_show},		{"segment", command_segment}, {"fetch", command_fetch},
};

int
main(int argc, char **argv)
{
	Options options;
	int code = options_parse(argc, argv, &options);

	if (code >= 0)
		return code;
	for (size_t i = 0; i < sizeof(command_table) / sizeof(command_table[0]); i++)
	{
		bool shows = strcmp(options.command, "show") == 0;

		if (strcmp(command_table[i].name, options.command) != 0)
			continue;
		/* entries are what it says; there is no verdict */
		report_start(options.command, options.json && !shows, options.quiet || shows);
		(void) command_table[i].run(&options);
		return report_finish();
	}
	return TOOL_USAGE;
}
