/*
 * bench.c - the benchmark's client: bench PHASE CONNINFO SECONDS RESULTS [VARIANT]
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

typedef struct Phase
{
	const char *name;
	void (*run)(const Bench *bench);
} Phase;

static const Phase phases[] = {
	{"load", phase_load},	{"release", phase_release},	  {"point", phase_point},
	{"enrol", phase_enrol}, {"disclose", phase_disclose}, {"headers", phase_headers},
	{"wait", phase_wait},	{"ledger", phase_ledger},	  {"trace", phase_trace},
	{"purge", phase_purge},
};

const char *
contender_name(Contender contender)
{
	switch (contender)
	{
		case CONTENDER_PLAIN:
			return "plain bytea";
		case CONTENDER_SEALED:
			return "biometric_audit";
		case CONTENDER_PGCRYPTO:
			return "pgcrypto AES, no audit";
		case CONTENDER_CAREFUL:
			return "pgcrypto AES + audit row by hand";
		default:
			die("no such contender: %d", contender);
	}
}

int
main(int argc, char **argv)
{
	Bench bench = {.variant = ""};

	if (argc < 5)
		die("usage: bench PHASE CONNINFO SECONDS RESULTS [VARIANT]");
	bench.conninfo = argv[2];
	bench.seconds = strtod(argv[3], NULL);
	bench.results = argv[4];
	if (argc > 5)
		bench.variant = argv[5];
	if (bench.seconds <= 0)
		die("SECONDS must be a positive number");
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
	{
		if (strcmp(phases[i].name, argv[1]) == 0)
		{
			phases[i].run(&bench);
			return 0;
		}
	}
	die("no such phase: %s", argv[1]);
}
