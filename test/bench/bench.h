/*
 * bench.h - the benchmark's client: contenders, statistics, clients, phases.
 *
 * A plain libpq program. Each phase measures its contenders in turns, in an
 * order that is reversed every other round (ABCD DCBA ...), so that whatever
 * drifts on the machine meets all of them alike, and reports medians. A ratio
 * is the median of the rounds' own ratios. Any error ends the program: a
 * benchmark of failing statements is worse than none.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <libpq-fe.h>

#define BENCH_MAX_CLIENTS 16
#define BENCH_IMAGE_SIZE 50000		/* bytes of a large image */
#define BENCH_SMALL_IMAGE_SIZE 1000 /* bytes of a small image: fits its heap page */
#define BENCH_IMAGES 2000			/* rows of each table of large images */
#define BENCH_SMALL_IMAGES 20000	/* rows of each table of small images */

/* Who is compared. The order is the order of the tables' lines. */
typedef enum Contender
{
	CONTENDER_PLAIN,	/* a bytea column */
	CONTENDER_SEALED,	/* a biometric_audit column */
	CONTENDER_PGCRYPTO, /* a bytea column, decrypt_iv() in the query */
	CONTENDER_CAREFUL,	/* the same, by a function that also inserts an audit row an image */
	CONTENDER_COUNT
} Contender;

typedef struct Bench
{
	const char *conninfo;
	const char *results; /* file that figures are appended to, for the summary */
	double seconds;		 /* measuring time of the phase */
	const char *variant; /* words to tell a repeated phase apart; "" */
} Bench;

/* ---- stats.c */

/* Measured values in the order of measuring. Zero-initialise; series_free. */
typedef struct Series
{
	double *values;
	size_t count;
	size_t capacity;
} Series;

/* series_add appends a value. */
extern void series_add(Series *series, double value);

/* series_append appends all values of another series. */
extern void series_append(Series *series, const Series *other);

/* series_percentile returns the value below which percent (0 to 100) of them are; 0 if empty. */
extern double series_percentile(const Series *series, double percent);

/* series_median returns the 50th percentile. */
extern double series_median(const Series *series);

/* series_ratio returns the median of a[i] / b[i] over the rounds both have. */
extern double series_ratio(const Series *a, const Series *b);

/* series_free frees the values and empties the series. */
extern void series_free(Series *series);

/* What a figure has to be to reach its target. */
typedef enum Direction
{
	AT_MOST,
	AT_LEAST
} Direction;

typedef struct Figure
{
	const char *name;
	double value;
	const char *unit; /* "x", "/s" */
	double target;
	Direction direction;
} Figure;

/*
 * figure_report prints a figure beside its target with "reached" or "short",
 * and appends it to the file of results. Returns whether it was reached.
 */
extern bool figure_report(const Bench *bench, const Figure *figure);

/* ---- jpeg.c, photo.c */

/*
 * jpeg_make writes a structurally valid grey JPEG (SOI, JFIF, SOF0, SOS,
 * incompressible entropy-coded data, EOI) of exactly size bytes.
 * size: bytes, at least 64. seed: another seed gives other data.
 */
extern void jpeg_make(uint8_t *bytes, size_t size, uint64_t seed);

/*
 * photo_make writes a colour picture of 640 x 480 that can be decoded, as a JPEG of exactly size
 * bytes: the best quality that fits, and a comment.
 * size: bytes, from some 20,000 to 100,000. seed: another seed gives another picture.
 */
extern void photo_make(uint8_t *bytes, size_t size, uint64_t seed);

/* random_next steps a xorshift generator; its state must not be 0. */
extern uint64_t random_next(uint64_t *state);

/* ---- client.c */

/* now_seconds returns the monotonic clock in seconds. */
extern double now_seconds(void);

/* die prints a message and ends the program with status 1. */
extern void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* connection_open connects, declares the purpose and sets names; never returns a failed one. */
extern PGconn *connection_open(const Bench *bench);

/* connection_execute runs a statement that returns no rows that matter. */
extern void connection_execute(PGconn *connection, const char *sql);

/* connection_number returns the single value of a query as a number. */
extern double connection_number(PGconn *connection, const char *sql);

/* connection_prepare prepares a statement under the name "bench". */
extern void connection_prepare(PGconn *connection, const char *sql);

/* process_cpu returns the seconds of CPU that a process has used; 0 if unknown. */
extern double process_cpu(int pid);

/* One client of a slice of time, on a connection that has "bench" prepared. */
typedef struct Client
{
	PGconn *connection;
	uint64_t random; /* state of random_next */
	int rows;		 /* ids run from 1 to it */
	void (*operation)(struct Client *client);
	double until;	  /* set by clients_run */
	Series latencies; /* seconds, one an operation; the caller frees it */
} Client;

/*
 * clients_run has each client repeat its operation, in a thread of its own,
 * for a number of seconds, and returns operations a second of all together.
 */
extern double clients_run(Client *clients, int count, double seconds);

/* clients_open connects count clients and prepares sql on each. */
extern void clients_open(const Bench *bench, Client *clients, int count, const char *sql, int rows,
						 void (*operation)(Client *client));

/* clients_close disconnects them and frees their latencies. */
extern void clients_close(Client *clients, int count);

/* operation_read_one reads one image by a random primary key, in binary. */
extern void operation_read_one(Client *client);

/* operation_commit executes a prepared statement that commits and returns no row. */
extern void operation_commit(Client *client);

/*
 * waits_print runs the clients for some seconds more, unmeasured, while
 * watching pg_stat_activity, and prints what their servers were waiting for.
 */
extern void waits_print(const Bench *bench, Client *clients, int count, double seconds);

/* waits_share does the same and returns the share of the time in one wait, "Extension:Extension". */
extern double waits_share(const Bench *bench, Client *clients, int count, double seconds,
						  const char *name);

/* ---- the phases, one file each */

/* contender_name returns what a contender's lines are headed. */
extern const char *contender_name(Contender contender);

/* phase_load fills the tables that setup.sql has made, and checks what comes back out of them. */
extern void phase_load(const Bench *bench);

/* phase_release measures large result sets of large images. */
extern void phase_release(const Bench *bench);

/* phase_point measures reads of one large image by primary key, from 1 and 16 clients. */
extern void phase_point(const Bench *bench);

/* phase_enrol measures single-row INSERTs, in autocommit and a hundred a transaction. */
extern void phase_enrol(const Bench *bench);

/* phase_disclose measures reads of one small image from 16 clients. */
extern void phase_disclose(const Bench *bench);

/* phase_headers measures header-only accessors beside a full read. */
extern void phase_headers(const Bench *bench);

/* phase_wait measures how long a read waits for its entries, beside an INSERT with its commit. */
extern void phase_wait(const Bench *bench);

/*
 * phase_ledger measures the ledger's space, tops it up to a million entries
 * (variant: another number) and measures proofs and verification.
 */
extern void phase_ledger(const Bench *bench);

/*
 * phase_trace stores a million images (variant: another number) and measures how long
 * trace() takes to find the one that a picture is of.
 */
extern void phase_trace(const Bench *bench);

/*
 * phase_purge stores a hundred thousand images that expire (variant: another number), and measures
 * reads of other ones while they are purged and while they are not, in turns, and how
 * fast they go.
 */
extern void phase_purge(const Bench *bench);

#endif
