/*
 * server.c - what happens inside the server: accessors that read a header
 * only, and the verification of the ledger.
 */
#include "bench.h"

#define LEDGER_ENTRIES 200000

static double
measure(PGconn *connection, const char *sql)
{
	double start = now_seconds();

	connection_execute(connection, sql);
	return now_seconds() - start;
}

void
phase_headers(const Bench *bench)
{
	static const char header[] = "SELECT sum(biometric.width(image)) FROM bench.sealed";
	static const char full[] = "SELECT sum(length(image::bytea)) FROM bench.sealed";
	Figure figure = {"header-only accessor, faster than a full read", 0, "x", 4.0, AT_LEAST};
	PGconn *connection = connection_open(bench);
	double until = now_seconds() + bench->seconds;
	Series header_seconds = {0};
	Series full_seconds = {0};

	connection_execute(connection, "SET max_parallel_workers_per_gather = 0");
	measure(connection, header);
	measure(connection, full);
	for (int round = 0; round < 4 || now_seconds() < until; round++)
	{
		if (round % 2)
			series_add(&full_seconds, measure(connection, full));
		series_add(&header_seconds, measure(connection, header));
		if (round % 2 == 0)
			series_add(&full_seconds, measure(connection, full));
	}
	printf("  width() of %d images: %.2f us each; a full read: %.2f us each\n", BENCH_IMAGES,
		   series_median(&header_seconds) / BENCH_IMAGES * 1e6,
		   series_median(&full_seconds) / BENCH_IMAGES * 1e6);
	figure.value = series_ratio(&full_seconds, &header_seconds);
	figure_report(bench, &figure);
	series_free(&header_seconds);
	series_free(&full_seconds);
	PQfinish(connection);
}

/* Releases small images in large result sets until the ledger is long enough. */
static void
top_up(PGconn *connection, double size)
{
	double start = now_seconds();
	double released = 0;

	while (size + released < LEDGER_ENTRIES)
	{
		PGresult *result = PQexecParams(connection, "SELECT image FROM bench.small_sealed", 0, NULL,
										NULL, NULL, NULL, 1);

		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("release of small images: %s", PQerrorMessage(connection));
		released += PQntuples(result);
		PQclear(result);
	}
	if (released > 0)
		printf("  %.0f small images released in large result sets: %.0f/s\n", released,
			   released / (now_seconds() - start));
}

void
phase_verify(const Bench *bench)
{
	static const char verify[] = "SELECT size FROM biometric.verify_ledger() WHERE ok";
	Figure figure = {"verification of the ledger, entries", 0, "/s", 1000000, AT_LEAST};
	PGconn *connection = connection_open(bench);
	double until;
	double size;
	Series rates = {0};

	top_up(connection, connection_number(connection, verify));
	size = connection_number(connection, verify);
	until = now_seconds() + bench->seconds;
	while (rates.count < 3 || now_seconds() < until)
		series_add(&rates, size / measure(connection, verify));
	figure.value = series_median(&rates);
	printf("  %.0f entries verified in %.2f s (median of %zu)\n", size, size / figure.value,
		   rates.count);
	figure_report(bench, &figure);
	series_free(&rates);
	PQfinish(connection);
}
