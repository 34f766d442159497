/*
 * server.c - what happens inside the server: accessors that read a header only.
 */
#include "bench.h"

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
