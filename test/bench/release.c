/*
 * release.c - large result sets of large images, in binary and in text.
 *
 * Read in libpq's single-row mode: a client that first piles up 100 MB spends
 * so long on its own memory that it hides what the servers do.
 */
#include "bench.h"

#include <string.h>

#define MAX_ROUNDS 200

static const char *const queries[CONTENDER_COUNT] = {
	"SELECT image FROM bench.plain",
	"SELECT image FROM bench.sealed",
	"SELECT public.decrypt_iv(image, bench.key(), iv, 'aes') FROM bench.crypt",
	"SELECT bench.read_image(id, image, iv) FROM bench.crypt",
};

typedef struct Lane
{
	PGconn *connection;
	Series seconds; /* a result set */
	Series cpu;		/* of its server process */
} Lane;

static void
read_all(PGconn *connection, bool binary)
{
	const char *expected = binary ? "\xFF\xD8" : "\\x";
	PGresult *result;
	int rows = 0;

	if (!PQsendQueryPrepared(connection, "bench", 0, NULL, NULL, NULL, binary) ||
		!PQsetSingleRowMode(connection))
		die("release: %s", PQerrorMessage(connection));
	while ((result = PQgetResult(connection)) != NULL)
	{
		if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
		{
			rows++;
			if (memcmp(PQgetvalue(result, 0, 0), expected, 2) != 0)
				die("release: what came is not the image");
		}
		else if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("release: %s", PQerrorMessage(connection));
		PQclear(result);
	}
	if (rows != BENCH_IMAGES)
		die("release: %d rows instead of %d", rows, BENCH_IMAGES);
}

static void
measure(Lane *lane, bool binary)
{
	double cpu = process_cpu(PQbackendPID(lane->connection));
	double start = now_seconds();

	read_all(lane->connection, binary);
	series_add(&lane->seconds, now_seconds() - start);
	series_add(&lane->cpu, process_cpu(PQbackendPID(lane->connection)) - cpu);
}

static void
print_lanes(const Lane *lanes, const char *format)
{
	printf("  %-34s %12s %12s %12s %14s\n", format, "images/s", "us/image", "x plain",
		   "server CPU us");
	for (int c = 0; c < CONTENDER_COUNT; c++)
	{
		double seconds = series_median(&lanes[c].seconds);

		printf("  %-34s %12.0f %12.1f %12.2f %14.1f\n", contender_name(c), BENCH_IMAGES / seconds,
			   seconds / BENCH_IMAGES * 1e6,
			   series_ratio(&lanes[c].seconds, &lanes[CONTENDER_PLAIN].seconds),
			   series_median(&lanes[c].cpu) / BENCH_IMAGES * 1e6);
	}
}

/* Says where a result set that is too slow spends its time, as far as it can be seen. */
static void
explain_lanes(const Bench *bench, Lane *lanes)
{
	const Lane *plain = &lanes[CONTENDER_PLAIN];
	const Lane *sealed = &lanes[CONTENDER_SEALED];
	double elapsed =
		(series_median(&sealed->seconds) - series_median(&plain->seconds)) / BENCH_IMAGES * 1e6;
	double cpu = (series_median(&sealed->cpu) - series_median(&plain->cpu)) / BENCH_IMAGES * 1e6;

	printf("     of %.1f us more an image, %.1f us are CPU of the server process; the rest is"
		   " waiting for the ledger and overlap lost with the client\n",
		   elapsed, cpu);
}

static void
release_binary_wait(Client *client)
{
	read_all(client->connection, true);
}

static void
run_format(const Bench *bench, Lane *lanes, bool binary, double seconds)
{
	double until;

	for (int c = 0; c < CONTENDER_COUNT; c++)
	{
		read_all(lanes[c].connection, binary);
		series_free(&lanes[c].seconds);
		series_free(&lanes[c].cpu);
	}
	until = now_seconds() + seconds;
	for (int round = 0; round < MAX_ROUNDS && (round < 2 || now_seconds() < until); round++)
		for (int turn = 0; turn < CONTENDER_COUNT; turn++)
			measure(&lanes[round % 2 ? CONTENDER_COUNT - 1 - turn : turn], binary);
}

void
phase_release(const Bench *bench)
{
	Lane lanes[CONTENDER_COUNT];
	Figure figure = {"release of 50 KB images, binary, to plain bytea", 0, "x", 1.30, AT_MOST};

	memset(lanes, 0, sizeof(lanes));
	for (int c = 0; c < CONTENDER_COUNT; c++)
	{
		lanes[c].connection = connection_open(bench);
		connection_prepare(lanes[c].connection, queries[c]);
	}
	run_format(bench, lanes, true, bench->seconds * 0.75);
	print_lanes(lanes, "2000 rows of 50 KB, binary");
	figure.value = series_ratio(&lanes[CONTENDER_SEALED].seconds, &lanes[CONTENDER_PLAIN].seconds);
	if (!figure_report(bench, &figure))
	{
		Client client = {.connection = lanes[CONTENDER_SEALED].connection,
						 .operation = release_binary_wait};

		explain_lanes(bench, lanes);
		waits_print(bench, &client, 1, 1);
		series_free(&client.latencies);
	}
	run_format(bench, lanes, false, bench->seconds * 0.25);
	print_lanes(lanes, "2000 rows of 50 KB, text");
	for (int c = 0; c < CONTENDER_COUNT; c++)
	{
		PQfinish(lanes[c].connection);
		series_free(&lanes[c].seconds);
		series_free(&lanes[c].cpu);
	}
}
