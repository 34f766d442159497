/*
 * ledger.c - what the ledger costs: the wait for an entry to be durable, its
 * space, and how fast a long ledger is proved and verified.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <string.h>

#define BATCH 16		  /* images of a batch, as biometric_audit.release_batch_rows has it */
#define SPACE_READS 20000 /* disclosures that space is measured by */
#define PROOFS 2000

/* Reads BATCH images by primary key, in binary. */
static void
operation_read_batch(Client *client)
{
	uint32_t id =
		htonl((uint32_t) (random_next(&client->random) % (uint64_t) (client->rows - BATCH)) + 1);
	const char *values[] = {(const char *) &id};
	const int lengths[] = {sizeof(id)};
	const int formats[] = {1};
	PGresult *result = PQexecPrepared(client->connection, "bench", 1, values, lengths, formats, 1);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != BATCH)
		die("read of a batch of images: %s", PQerrorMessage(client->connection));
	if (memcmp(PQgetvalue(result, BATCH - 1, 0), "\xFF\xD8", 2) != 0)
		die("read of a batch of images: what came is not an image");
	PQclear(result);
}

/* The contenders of phase_wait. */
enum
{
	WAIT_COMMIT,
	WAIT_ONE,
	WAIT_ONE_PLAIN,
	WAIT_BATCH,
	WAIT_BATCH_PLAIN,
	WAITS
};

static const struct
{
	const char *name;
	const char *sql;
	void (*operation)(Client *client);
} waits[WAITS] = {
	{"INSERT, unindexed table, and commit", "INSERT INTO bench.commits VALUES (1)",
	 operation_commit},
	{"read of one image", "SELECT image FROM bench.small_sealed WHERE id = $1", operation_read_one},
	{"the same of plain bytea", "SELECT image FROM bench.small_plain WHERE id = $1",
	 operation_read_one},
	{"read of 16 images",
	 "SELECT image FROM bench.small_sealed WHERE id BETWEEN $1 AND $1::pg_catalog.int4 + 15",
	 operation_read_batch},
	{"the same of plain bytea",
	 "SELECT image FROM bench.small_plain WHERE id BETWEEN $1 AND $1::pg_catalog.int4 + 15",
	 operation_read_batch},
};

/* What a read takes beyond that of plain bytea: waiting, and all of the opening. */
static double
beyond_plain(const Series *medians, int sealed, int plain)
{
	return (series_median(&medians[sealed]) - series_median(&medians[plain])) /
		   series_median(&medians[WAIT_COMMIT]);
}

/* How long a read sleeps until its entries are durable, in INSERTs: as the server is seen to. */
static double
asleep(const Bench *bench, Client *client, const Series *medians, int contender)
{
	double share = waits_share(bench, client, 1, bench->seconds / 4, "Extension:Extension");

	return share * series_median(&medians[contender]) / series_median(&medians[WAIT_COMMIT]);
}

void
phase_wait(const Bench *bench)
{
	Figure one = {"wait for one entry, in INSERT and commit", 0, "x", 1.4, AT_MOST};
	Figure batch = {"wait for the entries of 16 images", 0, "x", 1.7, AT_MOST};
	static Client clients[WAITS];
	Series medians[WAITS] = {{0}};
	int rounds = 6;
	double slice = bench->seconds / 2 / rounds / WAITS;

	for (int i = 0; i < WAITS; i++)
		clients_open(bench, &clients[i], 1, waits[i].sql, BENCH_SMALL_IMAGES, waits[i].operation);
	for (int round = 0; round < rounds; round++)
		for (int turn = 0; turn < WAITS; turn++)
		{
			Client *client = &clients[round % 2 ? WAITS - 1 - turn : turn];

			clients_run(client, 1, slice);
			series_add(&medians[client - clients], series_median(&client->latencies));
			series_free(&client->latencies);
		}
	for (int i = 0; i < WAITS; i++)
		printf("  %-38s p50 %6.0f us\n", waits[i].name, series_median(&medians[i]) * 1e6);
	printf("  beyond plain bytea: one image %.2f, 16 images %.2f INSERTs, with the opening of "
		   "images\n",
		   beyond_plain(medians, WAIT_ONE, WAIT_ONE_PLAIN),
		   beyond_plain(medians, WAIT_BATCH, WAIT_BATCH_PLAIN));
	one.value = asleep(bench, &clients[WAIT_ONE], medians, WAIT_ONE);
	batch.value = asleep(bench, &clients[WAIT_BATCH], medians, WAIT_BATCH);
	figure_report(bench, &one);
	figure_report(bench, &batch);
	for (int i = 0; i < WAITS; i++)
	{
		clients_close(&clients[i], 1);
		series_free(&medians[i]);
	}
}

static double
ledger_bytes(PGconn *connection)
{
	return connection_number(
		connection,
		"SELECT sum(pg_catalog.pg_total_relation_size(c.oid)) FROM pg_catalog.pg_class c"
		" WHERE c.relnamespace = 'biometric'::pg_catalog.regnamespace"
		" AND c.relkind = 'r'");
}

static double
ledger_size(PGconn *connection)
{
	return connection_number(connection, "SELECT size FROM biometric.ledger_status()");
}

/* Bytes that the ledger grows by with each image, read by an operation that reads so many. */
static double
space_per_image(const Bench *bench, PGconn *connection, int contender, int images)
{
	static Client clients[BENCH_MAX_CLIENTS];
	double before = ledger_bytes(connection);
	double read = 0;
	double bytes;

	clients_open(bench, clients, BENCH_MAX_CLIENTS, waits[contender].sql, BENCH_SMALL_IMAGES,
				 waits[contender].operation);
	while (read < SPACE_READS)
	{
		clients_run(clients, BENCH_MAX_CLIENTS, 0.2);
		read = 0;
		for (int i = 0; i < BENCH_MAX_CLIENTS; i++)
			read += (double) clients[i].latencies.count * images;
	}
	bytes = ledger_bytes(connection) - before;
	clients_close(clients, BENCH_MAX_CLIENTS);
	return bytes / read;
}

static void
report_space(const Bench *bench, PGconn *connection)
{
	Figure one = {"ledger space of a single disclosure", 0, " B", 350, AT_MOST};
	Figure batch = {"ledger space of an image in a batch of 16", 0, " B", 200, AT_MOST};

	one.value = space_per_image(bench, connection, WAIT_ONE, 1);
	batch.value = space_per_image(bench, connection, WAIT_BATCH, BATCH);
	figure_report(bench, &one);
	figure_report(bench, &batch);
}

/* Releases small images in large result sets until the ledger is long enough. */
static void
top_up(PGconn *connection, double entries)
{
	double start = now_seconds();
	double size = ledger_size(connection);
	double released = 0;

	while (size + released < entries)
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

static double
seconds_of(PGconn *connection, const char *sql)
{
	double start = now_seconds();

	connection_execute(connection, sql);
	return now_seconds() - start;
}

/* Microseconds of one call, of PROOFS at places all over the ledger, less the loop itself. */
static double
microseconds_of(PGconn *connection, const char *expression)
{
	static const char loop[] =
		"SELECT count(%s) FROM (SELECT (i * 2654435761) %% s.size AS seq, s.size"
		" FROM (SELECT size FROM biometric.ledger_status()) s,"
		" pg_catalog.generate_series(1, %d) i OFFSET 0) n";
	char sql[512];
	Series rounds = {0};
	double empty;
	double median;

	snprintf(sql, sizeof(sql), loop, "seq", PROOFS);
	empty = seconds_of(connection, sql);
	snprintf(sql, sizeof(sql), loop, expression, PROOFS);
	seconds_of(connection, sql);
	for (int i = 0; i < 7; i++)
		series_add(&rounds, (seconds_of(connection, sql) - empty) / PROOFS * 1e6);
	median = series_median(&rounds);
	series_free(&rounds);
	return median;
}

/* Asks for the proof of an entry anywhere. */
static void
operation_prove(Client *client)
{
	uint32_t id = htonl((uint32_t) (random_next(&client->random) % (uint64_t) client->rows));
	const char *values[] = {(const char *) &id};
	const int lengths[] = {sizeof(id)};
	const int formats[] = {1};
	PGresult *result = PQexecPrepared(client->connection, "bench", 1, values, lengths, formats, 1);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		die("inclusion proof: %s", PQerrorMessage(client->connection));
	PQclear(result);
}

static void
report_proofs(const Bench *bench, PGconn *connection)
{
	Figure figure = {"inclusion proof, to a client", 0, " us", 500, AT_MOST};
	int size = (int) ledger_size(connection);
	char sql[128];
	Client client;

	snprintf(sql, sizeof(sql), "SELECT biometric.inclusion_proof($1::pg_catalog.int4, %d)", size);
	clients_open(bench, &client, 1, sql, size, operation_prove);
	clients_run(&client, 1, 2);
	series_free(&client.latencies);
	clients_run(&client, 1, 4);
	figure.value = series_median(&client.latencies) * 1e6;
	clients_close(&client, 1);
	printf("  within the server: inclusion proof %.0f us, consistency proof %.0f us,"
		   " root of any size %.0f us, leaf %.0f us, row of the view %.0f us\n",
		   microseconds_of(connection, "biometric.inclusion_proof(seq, size)"),
		   microseconds_of(connection, "biometric.consistency_proof(seq, size)"),
		   microseconds_of(connection, "biometric.root(seq)"),
		   microseconds_of(connection, "biometric.leaf(seq)"),
		   microseconds_of(connection,
						   "(SELECT l.event FROM biometric.ledger l WHERE l.seq = n.seq)"));
	figure_report(bench, &figure);
}

void
phase_ledger(const Bench *bench)
{
	static const char verify[] = "SELECT size FROM biometric.verify_ledger() WHERE ok";
	Figure figure = {"verification of the ledger, entries", 0, "/s", 1500000, AT_LEAST};
	PGconn *connection = connection_open(bench);
	double entries =
		bench->variant[0] == '\0' ? 1000000 : connection_number(connection, bench->variant);
	Series rates = {0};
	double until;
	double size;

	report_space(bench, connection);
	top_up(connection, entries);
	connection_execute(connection, "CHECKPOINT");
	report_proofs(bench, connection);
	size = connection_number(connection, verify);
	until = now_seconds() + bench->seconds;
	while (rates.count < 3 || now_seconds() < until)
		series_add(&rates, size / seconds_of(connection, verify));
	figure.value = series_median(&rates);
	printf("  %.0f entries verified in %.2f s (median of %zu), %.0f bytes each\n", size,
		   size / figure.value, rates.count, ledger_bytes(connection) / size);
	figure_report(bench, &figure);
	series_free(&rates);
	PQfinish(connection);
}
