/*
 * purge.c - reads by primary key while images of another table are purged, and while they are not.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define CLIENTS 4
#define IMAGES 1000		   /* that are sealed; the rows have copies of them */
#define ROWS_AT_ONCE 50000 /* a transaction */
#define IMAGE_SIZE 200	   /* bytes */

/* Fills a table with rows whose images expire a second after they were sealed. */
static void
store_images(PGconn *connection, double wanted)
{
	static const char enrol[] =
		"INSERT INTO bench.expired_source VALUES ($1, $2::pg_catalog.bytea::biometric.face_image)";
	uint8_t image[IMAGE_SIZE];
	char sql[512];

	connection_execute(
		connection,
		"CREATE TABLE bench.expired_source (id pg_catalog.int4, image biometric.face_image);"
		"CREATE TABLE bench.expired (id pg_catalog.int8 PRIMARY KEY, image biometric.face_image)");
	connection_execute(connection, "BEGIN");
	for (int i = 0; i < IMAGES; i++)
	{
		char number[16];
		const char *values[] = {number, (const char *) image};
		const int lengths[] = {0, IMAGE_SIZE};
		const int formats[] = {0, 1};
		PGresult *result;

		snprintf(number, sizeof(number), "%d", i);
		jpeg_make(image, IMAGE_SIZE, (uint64_t) i + 1);
		result = PQexecParams(connection, enrol, 2, NULL, values, lengths, formats, 1);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die("%s: %s", enrol, PQerrorMessage(connection));
		PQclear(result);
	}
	connection_execute(connection, "COMMIT");
	for (double stored = 0; stored < wanted; stored += ROWS_AT_ONCE)
	{
		snprintf(sql, sizeof(sql),
				 "INSERT INTO bench.expired SELECT %.0f OPERATOR(pg_catalog.+) n, s.image "
				 "FROM pg_catalog.generate_series(1, %.0f) AS n JOIN bench.expired_source AS s "
				 "ON s.id OPERATOR(pg_catalog.=) (n OPERATOR(pg_catalog.%%) %d)",
				 stored, wanted - stored < ROWS_AT_ONCE ? wanted - stored : ROWS_AT_ONCE, IMAGES);
		connection_execute(connection, sql);
	}
	connection_execute(connection, "VACUUM ANALYZE bench.expired");
	connection_execute(connection, "CHECKPOINT");
}

/* Lets the purger work, or stops it, and returns when it does. */
static void
switch_purger(PGconn *connection, bool on)
{
	static const char count[] = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity "
								"WHERE backend_type OPERATOR(pg_catalog.=) "
								"'biometric_audit purger'";

	connection_execute(connection, on ? "ALTER SYSTEM SET biometric_audit.purge_interval = '1ms'"
									  : "ALTER SYSTEM SET biometric_audit.purge_interval = 0");
	connection_execute(connection, "SELECT pg_catalog.pg_reload_conf()");
	while ((connection_number(connection, count) > 0) != on)
	{
		connection_execute(connection, "SELECT pg_catalog.pg_sleep(0.01)");
		/* it may have come and gone */
		if (on && connection_number(connection, "SELECT (NOT EXISTS (SELECT FROM bench.expired))"
												"::pg_catalog.int4") != 0)
			break;
	}
}

static double
rows_left(PGconn *connection)
{
	return connection_number(connection, "SELECT pg_catalog.count(*) FROM bench.expired");
}

static void
take_latencies(Client *clients, Series *all)
{
	for (int i = 0; i < CLIENTS; i++)
	{
		series_append(all, &clients[i].latencies);
		series_free(&clients[i].latencies);
	}
}

/* What reads take in a state of the purger. */
typedef struct Side
{
	Series latencies; /* seconds */
	Series p99;		  /* a slice each */
	double seconds;
	double purged;
} Side;

static void
measure(PGconn *connection, Client *clients, Side *side, bool on, double seconds)
{
	Series slice = {0};
	double rows;
	double start;

	switch_purger(connection, on);
	rows = rows_left(connection);
	start = now_seconds();
	clients_run(clients, CLIENTS, seconds);
	side->seconds += now_seconds() - start;
	side->purged += rows - rows_left(connection);
	take_latencies(clients, &slice);
	series_add(&side->p99, series_percentile(&slice, 99));
	series_append(&side->latencies, &slice);
	series_free(&slice);
}

static void
print_sides(const Bench *bench, const Side *without, const Side *with)
{
	Figure ratio = {"p99 of a point read while images are purged, to not", 0, "x", 1.5, AT_MOST};
	Figure rate = {"images purged while they are read", 0, "/s", 1000, AT_LEAST};

	for (int on = 0; on < 2; on++)
	{
		const Side *side = on ? with : without;

		printf("  %-34s p50 %.0f us, p99 %.0f us; %.0f reads/s; %.0f rows purged/s\n",
			   on ? "while images are purged" : "while none are",
			   series_percentile(&side->latencies, 50) * 1e6,
			   series_percentile(&side->latencies, 99) * 1e6,
			   (double) side->latencies.count / side->seconds, side->purged / side->seconds);
	}
	ratio.value = series_ratio(&with->p99, &without->p99);
	figure_report(bench, &ratio);
	rate.value = with->purged / with->seconds;
	figure_report(bench, &rate);
}

/* Has the rest purged, so that no time is the one at which it was easy. */
static void
purge_rest(PGconn *connection, Client *clients, Side *side)
{
	while (rows_left(connection) > 0)
		measure(connection, clients, side, true, 2);
}

void
phase_purge(const Bench *bench)
{
	PGconn *connection = connection_open(bench);
	double wanted = bench->variant[0] == '\0' ? 100000 : strtod(bench->variant, NULL);
	int rounds = 8;
	double slice = bench->seconds / 2 / rounds;
	Client clients[CLIENTS];
	Side without = {0};
	Side with = {0};
	Side rest = {0};

	connection_execute(connection, "SET client_min_messages = warning");
	connection_execute(connection, "ALTER SYSTEM SET biometric_audit.purge_interval = 0");
	connection_execute(connection, "SELECT pg_catalog.pg_reload_conf()");
	store_images(connection, wanted);
	connection_execute(connection, "SELECT biometric.retain('bench.expired', 'image', "
								   "'1 second', 'delete')");
	clients_open(bench, clients, CLIENTS, "SELECT image FROM bench.sealed WHERE id = $1",
				 BENCH_IMAGES, operation_read_one);
	clients_run(clients, CLIENTS, 0.2);
	take_latencies(clients, &rest.latencies);
	for (int round = 0; round < rounds && rows_left(connection) > 0; round++)
	{
		measure(connection, clients, round % 2 ? &with : &without, round % 2, slice);
		measure(connection, clients, round % 2 ? &without : &with, !(round % 2), slice);
	}
	printf("  %.0f images, %d clients read others of %d bytes\n", wanted, CLIENTS,
		   BENCH_IMAGE_SIZE);
	print_sides(bench, &without, &with);
	series_free(&rest.latencies);
	rest = (Side){0};
	purge_rest(connection, clients, &rest);
	if (rest.seconds > 0)
		printf("     all of them, to the last: p99 %.0f us, %.0f rows purged/s\n",
			   series_percentile(&rest.latencies, 99) * 1e6, rest.purged / rest.seconds);
	switch_purger(connection, false);
	clients_close(clients, CLIENTS);
	PQfinish(connection);
}
