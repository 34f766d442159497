/*
 * enrol.c - INSERTs of a large image as a binary parameter, single ones and
 * in bulk, with every change on record.
 *
 * The images are pictures that can be decoded. The targets are for enrolment without
 * the picture hash (biometric_audit.picture_hash = off), which the others do not have;
 * what it adds to an image is measured beside, in CPU of the server process: most of it is
 * the decoding of 50 KB of Huffman codes, a few hundred microseconds.
 *
 * The tables are emptied and the WAL is recycled between slices, unmeasured,
 * so that nobody pays for the others' files.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 100
#define IMAGES 64

/*
 * The careful team enrols as pgcrypto does. A bytea column as CREATE TABLE
 * makes it tries to compress each image, in vain; it is shown for information,
 * the target is set against the column that does not.
 */
typedef enum LaneNumber
{
	LANE_PLAIN,
	LANE_SEALED,
	LANE_HASHED,
	LANE_AUDITED,
	LANE_PGCRYPTO,
	LANE_DEFAULT,
	LANES
} LaneNumber;

typedef struct LaneWork
{
	const char *name;
	const char *insert;
	const char *truncate;
	bool hashed; /* with the picture hash */
} LaneWork;

static const LaneWork work[LANES] = {
	[LANE_PLAIN] = {"plain bytea", "INSERT INTO bench.new_plain (id, image) VALUES ($1, $2)",
					"TRUNCATE bench.new_plain", false},
	[LANE_SEALED] = {"biometric_audit, no picture hash",
					 "INSERT INTO bench.new_sealed (id, image) VALUES ($1, $2)",
					 "TRUNCATE bench.new_sealed", false},
	[LANE_HASHED] = {"biometric_audit", "INSERT INTO bench.new_sealed (id, image) VALUES ($1, $2)",
					 "TRUNCATE bench.new_sealed", true},
	[LANE_AUDITED] = {"bytea, trigger writes an audit row",
					  "INSERT INTO bench.new_audited (id, image) VALUES ($1, $2)",
					  "TRUNCATE bench.new_audited, bench.new_audit", false},
	[LANE_PGCRYPTO] = {"pgcrypto AES",
					   "INSERT INTO bench.new_crypt (id, image, iv)"
					   " SELECT $1::pg_catalog.int4,"
					   " public.encrypt_iv($2, bench.key(), iv, 'aes'), iv"
					   " FROM public.gen_random_bytes(16) iv",
					   "TRUNCATE bench.new_crypt", false},
	[LANE_DEFAULT] = {"bytea that tries to compress",
					  "INSERT INTO bench.new_default (id, image) VALUES ($1, $2)",
					  "TRUNCATE bench.new_default", false},
};

typedef struct Lane
{
	PGconn *connection;
	Series seconds; /* an image, one a slice */
	Series cpu;		/* of its server process, an image */
} Lane;

static uint8_t images[IMAGES][BENCH_IMAGE_SIZE];

static void
insert_one(PGconn *connection, uint32_t id)
{
	uint32_t id_network = htonl(id);
	const char *values[] = {(const char *) &id_network, (const char *) images[id % IMAGES]};
	const int lengths[] = {sizeof(id_network), BENCH_IMAGE_SIZE};
	const int formats[] = {1, 1};
	PGresult *result = PQexecPrepared(connection, "bench", 2, values, lengths, formats, 1);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("enrolment: %s", PQerrorMessage(connection));
	PQclear(result);
}

static uint32_t
insert_batch(PGconn *connection, uint32_t id)
{
	connection_execute(connection, "BEGIN");
	for (int i = 0; i < BATCH; i++)
		insert_one(connection, ++id);
	connection_execute(connection, "COMMIT");
	return id;
}

/* Switches the picture hash on or off, and returns when a session knows. */
static void
switch_hash(PGconn *connection, bool on)
{
	const char *asks = on ? "SELECT (pg_catalog.current_setting('biometric_audit.picture_hash')"
							" = 'on')::pg_catalog.int4"
						  : "SELECT (pg_catalog.current_setting('biometric_audit.picture_hash')"
							" = 'off')::pg_catalog.int4";

	connection_execute(connection, on ? "ALTER SYSTEM SET biometric_audit.picture_hash = on"
									  : "ALTER SYSTEM SET biometric_audit.picture_hash = off");
	(void) connection_number(connection, "SELECT pg_catalog.pg_reload_conf()::pg_catalog.int4");
	while (connection_number(connection, asks) != 1)
		continue;
}

static void
measure(Lane *lane, const char *truncate, bool batched, double seconds)
{
	uint32_t id = 0;
	double start;
	double cpu;

	connection_execute(lane->connection, truncate);
	connection_execute(lane->connection, "CHECKPOINT");
	insert_one(lane->connection, UINT32_C(1000000000));
	cpu = process_cpu(PQbackendPID(lane->connection));
	start = now_seconds();
	while (now_seconds() - start < seconds)
	{
		if (batched)
			id = insert_batch(lane->connection, id);
		else
			insert_one(lane->connection, ++id);
	}
	series_add(&lane->seconds, (now_seconds() - start) / id);
	series_add(&lane->cpu, (process_cpu(PQbackendPID(lane->connection)) - cpu) / id);
}

/* What enrolment is measured against, and at most how much more it may take. */
typedef struct Mode
{
	const char *title;
	bool batched;
	LaneNumber against;
	Figure figure;
	Figure hash; /* CPU of the server process that the picture hash adds to an image */
} Mode;

static const Mode modes[] = {
	{"INSERT of 50 KB, autocommit",
	 false,
	 LANE_AUDITED,
	 {"enrolment of 50 KB, autocommit, to audited bytea", 0, "x", 1.5, AT_MOST},
	 {"picture hash of 50 KB, autocommit, CPU", 0, "us", 750, AT_MOST}},
	{"INSERT of 50 KB, 100 a commit",
	 true,
	 LANE_PLAIN,
	 {"enrolment of 50 KB, 100 a transaction, to bytea", 0, "x", 1.6, AT_MOST},
	 {"picture hash of 50 KB, 100 a transaction, CPU", 0, "us", 750, AT_MOST}},
};

static void
print_lanes(const Mode *mode, const Lane *lanes)
{
	printf("  %-34s %12s %12s %12s %14s\n", mode->title, "images/s", "us/image", "x plain",
		   "server CPU us");
	for (int c = 0; c < LANES; c++)
		printf("  %-34s %12.0f %12.1f %12.2f %14.1f\n", work[c].name,
			   1 / series_median(&lanes[c].seconds), series_median(&lanes[c].seconds) * 1e6,
			   series_ratio(&lanes[c].seconds, &lanes[LANE_PLAIN].seconds),
			   series_median(&lanes[c].cpu) * 1e6);
}

static void
run_mode(const Bench *bench, const Mode *mode)
{
	Lane lanes[LANES];
	Figure figure = mode->figure;
	int rounds = 8;
	double slice = bench->seconds / 2 / rounds / LANES;

	memset(lanes, 0, sizeof(lanes));
	for (int c = 0; c < LANES; c++)
	{
		lanes[c].connection = connection_open(bench);
		connection_prepare(lanes[c].connection, work[c].insert);
	}
	for (int round = 0; round < rounds; round++)
		for (int turn = 0; turn < LANES; turn++)
		{
			int c = round % 2 ? LANES - 1 - turn : turn;

			switch_hash(lanes[c].connection, work[c].hashed);
			measure(&lanes[c], work[c].truncate, mode->batched, slice);
		}

	print_lanes(mode, lanes);
	figure.value = series_ratio(&lanes[LANE_SEALED].seconds, &lanes[mode->against].seconds);
	if (!figure_report(bench, &figure))
		printf("     %.1f us more an image, of which %.1f us are CPU of the server process\n",
			   (series_median(&lanes[LANE_SEALED].seconds) -
				series_median(&lanes[mode->against].seconds)) *
				   1e6,
			   (series_median(&lanes[LANE_SEALED].cpu) - series_median(&lanes[mode->against].cpu)) *
				   1e6);
	figure = mode->hash;
	figure.value =
		(series_median(&lanes[LANE_HASHED].cpu) - series_median(&lanes[LANE_SEALED].cpu)) * 1e6;
	(void) figure_report(bench, &figure);
	for (int c = 0; c < LANES; c++)
	{
		connection_execute(lanes[c].connection, work[c].truncate);
		PQfinish(lanes[c].connection);
		series_free(&lanes[c].seconds);
		series_free(&lanes[c].cpu);
	}
}

void
phase_enrol(const Bench *bench)
{
	for (int i = 0; i < IMAGES; i++)
		photo_make(images[i], BENCH_IMAGE_SIZE, (uint64_t) i + 1);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		run_mode(bench, &modes[i]);
}
