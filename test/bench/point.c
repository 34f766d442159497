/*
 * point.c - reads of one image by primary key: large ones for their latency,
 * small ones for how many disclosures a second the ledger sustains.
 */
#include "bench.h"

#include <string.h>

static const char *const queries[CONTENDER_COUNT] = {
	"SELECT image FROM bench.plain WHERE id = $1",
	"SELECT image FROM bench.sealed WHERE id = $1",
	"SELECT public.decrypt_iv(image, bench.key(), iv, 'aes') FROM bench.crypt WHERE id = $1",
	"SELECT bench.read_image(id, image, iv) FROM bench.crypt WHERE id = $1",
};

typedef struct Lane
{
	Client clients[BENCH_MAX_CLIENTS];
	Series p50;		  /* seconds, one a round */
	Series rate;	  /* operations a second, one a round */
	Series latencies; /* seconds, of all rounds */
} Lane;

static void
measure(Lane *lane, int clients, double seconds)
{
	Series slice = {0};

	series_add(&lane->rate, clients_run(lane->clients, clients, seconds));
	for (int i = 0; i < clients; i++)
	{
		series_append(&slice, &lane->clients[i].latencies);
		series_free(&lane->clients[i].latencies);
	}
	series_add(&lane->p50, series_median(&slice));
	series_append(&lane->latencies, &slice);
	series_free(&slice);
}

static void
run_point(const Bench *bench, int clients)
{
	static Lane lanes[CONTENDER_COUNT];
	int rounds = bench->seconds >= 12 ? 6 : 4;
	double slice = bench->seconds / 2 / rounds / CONTENDER_COUNT;
	char head[64];

	memset(lanes, 0, sizeof(lanes));
	for (int c = 0; c < CONTENDER_COUNT; c++)
	{
		clients_open(bench, lanes[c].clients, clients, queries[c], BENCH_IMAGES,
					 operation_read_one);
		clients_run(lanes[c].clients, clients, 0.05);
		for (int i = 0; i < clients; i++)
			series_free(&lanes[c].clients[i].latencies);
	}
	for (int round = 0; round < rounds; round++)
		for (int turn = 0; turn < CONTENDER_COUNT; turn++)
			measure(&lanes[round % 2 ? CONTENDER_COUNT - 1 - turn : turn], clients, slice);

	snprintf(head, sizeof(head), "%d client%s%s", clients, clients == 1 ? "" : "s", bench->variant);
	printf("  %-34s %12s %12s %12s %12s\n", head, "p50 us", "p99 us", "p50 x plain", "reads/s");
	for (int c = 0; c < CONTENDER_COUNT; c++)
	{
		printf("  %-34s %12.0f %12.0f %12.2f %12.0f\n", contender_name(c),
			   series_percentile(&lanes[c].latencies, 50) * 1e6,
			   series_percentile(&lanes[c].latencies, 99) * 1e6,
			   series_ratio(&lanes[c].p50, &lanes[CONTENDER_PLAIN].p50),
			   series_median(&lanes[c].rate));
	}
	waits_print(bench, lanes[CONTENDER_SEALED].clients, clients, 0.5);
	for (int c = 0; c < CONTENDER_COUNT; c++)
	{
		clients_close(lanes[c].clients, clients);
		series_free(&lanes[c].p50);
		series_free(&lanes[c].rate);
		series_free(&lanes[c].latencies);
	}
}

void
phase_point(const Bench *bench)
{
	run_point(bench, 1);
	run_point(bench, 16);
}

static double
clients_cpu(const Client *clients, int count)
{
	double seconds = 0;

	for (int i = 0; i < count; i++)
		seconds += process_cpu(PQbackendPID(clients[i].connection));
	return seconds;
}

/*
 * Says what disclosures cost, to tell a slow disk from too few processors: the
 * CPU of a read, and how long a bare commit takes, which each waits for.
 */
static void
disclose_print_costs(const Bench *bench, Client *clients, int count)
{
	PGconn *connection = connection_open(bench);
	int worker =
		(int) connection_number(connection, "SELECT worker_pid FROM biometric.ledger_status()");
	double cpu = -clients_cpu(clients, count);
	double worker_cpu = -process_cpu(worker);
	double reads = clients_run(clients, count, 0.5) * 0.5;
	Client client;

	cpu += clients_cpu(clients, count);
	worker_cpu += process_cpu(worker);
	clients_open(bench, &client, 1, "INSERT INTO bench.commits VALUES (1)", 1, operation_commit);
	clients_run(&client, 1, 0.3);
	printf("     a read takes %.0f us of CPU in its server process and %.0f us in the ledger's"
		   " worker; a bare commit takes %.0f us\n",
		   cpu / reads * 1e6, worker_cpu / reads * 1e6, series_median(&client.latencies) * 1e6);
	clients_close(&client, 1);
	PQfinish(connection);
}

void
phase_disclose(const Bench *bench)
{
	static Lane plain;
	static Lane sealed;
	Figure figure = {"disclosures of one small image, 16 clients", 0, "/s", 12000, AT_LEAST};
	int rounds = 4;
	double slice = bench->seconds / rounds / 2;

	memset(&plain, 0, sizeof(plain));
	memset(&sealed, 0, sizeof(sealed));
	clients_open(bench, plain.clients, 16, "SELECT image FROM bench.small_plain WHERE id = $1",
				 BENCH_SMALL_IMAGES, operation_read_one);
	clients_open(bench, sealed.clients, 16, "SELECT image FROM bench.small_sealed WHERE id = $1",
				 BENCH_SMALL_IMAGES, operation_read_one);
	for (int round = 0; round < rounds; round++)
	{
		measure(round % 2 ? &sealed : &plain, 16, slice);
		measure(round % 2 ? &plain : &sealed, 16, slice);
	}
	figure.value = series_median(&sealed.rate);
	printf("  16 clients, 1 KB images: %.0f reads/s, p50 %.0f us, p99 %.0f us; plain bytea %.0f/s,"
		   " p50 %.0f us\n",
		   figure.value, series_percentile(&sealed.latencies, 50) * 1e6,
		   series_percentile(&sealed.latencies, 99) * 1e6, series_median(&plain.rate),
		   series_percentile(&plain.latencies, 50) * 1e6);
	figure_report(bench, &figure);
	waits_print(bench, sealed.clients, 16, 0.5);
	disclose_print_costs(bench, sealed.clients, 16);
	clients_close(plain.clients, 16);
	clients_close(sealed.clients, 16);
	series_free(&plain.p50);
	series_free(&plain.rate);
	series_free(&plain.latencies);
	series_free(&sealed.p50);
	series_free(&sealed.rate);
	series_free(&sealed.latencies);
}
