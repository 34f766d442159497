/*
 * client.c - connections, clients in threads, and what their servers wait for.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double
now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

void
die(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "bench: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(1);
}

PGconn *
connection_open(const Bench *bench)
{
	PGconn *connection = PQconnectdb(bench->conninfo);

	if (PQstatus(connection) != CONNECTION_OK)
		die("%s", PQerrorMessage(connection));
	connection_execute(connection, "SET biometric_audit.purpose = 'bench'");
	return connection;
}

void
connection_execute(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		die("%s: %s", sql, PQerrorMessage(connection));
	PQclear(result);
}

double
connection_number(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);
	double number;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		die("%s: %s", sql, PQerrorMessage(connection));
	number = strtod(PQgetvalue(result, 0, 0), NULL);
	PQclear(result);
	return number;
}

void
connection_prepare(PGconn *connection, const char *sql)
{
	PGresult *result = PQprepare(connection, "bench", sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("%s: %s", sql, PQerrorMessage(connection));
	PQclear(result);
}

double
process_cpu(int pid)
{
	char path[64];
	unsigned long long nanoseconds = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%llu", &nanoseconds) != 1)
		nanoseconds = 0;
	fclose(file);
	return (double) nanoseconds / 1e9;
}

static void *
client_main(void *argument)
{
	Client *client = argument;
	double before = now_seconds();

	while (before < client->until)
	{
		double after;

		client->operation(client);
		after = now_seconds();
		series_add(&client->latencies, after - before);
		before = after;
	}
	return NULL;
}

double
clients_run(Client *clients, int count, double seconds)
{
	pthread_t threads[BENCH_MAX_CLIENTS];
	double start = now_seconds();
	size_t done = 0;

	for (int i = 0; i < count; i++)
	{
		clients[i].until = start + seconds;
		done -= clients[i].latencies.count;
		if (pthread_create(&threads[i], NULL, client_main, &clients[i]) != 0)
			die("cannot start a thread");
	}
	for (int i = 0; i < count; i++)
	{
		pthread_join(threads[i], NULL);
		done += clients[i].latencies.count;
	}
	return (double) done / (now_seconds() - start);
}

void
clients_open(const Bench *bench, Client *clients, int count, const char *sql, int rows,
			 void (*operation)(Client *client))
{
	memset(clients, 0, sizeof(*clients) * (size_t) count);
	for (int i = 0; i < count; i++)
	{
		clients[i].connection = connection_open(bench);
		connection_prepare(clients[i].connection, sql);
		clients[i].random = 0x1234567 + (uint64_t) i * 7919;
		clients[i].rows = rows;
		clients[i].operation = operation;
	}
}

void
clients_close(Client *clients, int count)
{
	for (int i = 0; i < count; i++)
	{
		PQfinish(clients[i].connection);
		series_free(&clients[i].latencies);
	}
}

void
operation_read_one(Client *client)
{
	uint32_t id = htonl((uint32_t) (random_next(&client->random) % (uint64_t) client->rows) + 1);
	const char *values[] = {(const char *) &id};
	const int lengths[] = {sizeof(id)};
	const int formats[] = {1};
	PGresult *result = PQexecPrepared(client->connection, "bench", 1, values, lengths, formats, 1);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		die("read of one image: %s", PQerrorMessage(client->connection));
	/* What is still sealed, or encrypted, does not begin as a JPEG does. */
	if (memcmp(PQgetvalue(result, 0, 0), "\xFF\xD8", 2) != 0)
		die("read of one image: what came is not the image");
	PQclear(result);
}

void
operation_commit(Client *client)
{
	PGresult *result = PQexecPrepared(client->connection, "bench", 0, NULL, NULL, NULL, 1);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("commit: %s", PQerrorMessage(client->connection));
	PQclear(result);
}

typedef struct Watch
{
	PGconn *connection;
	const char *sql;
	const char *pids;
	volatile bool stop;
	char names[32][80];
	int seen[32];
	int kinds;
	int total;
} Watch;

static void
watch_count(Watch *watch, const char *name)
{
	int i = 0;

	while (i < watch->kinds && strcmp(watch->names[i], name) != 0)
		i++;
	if (i == (int) (sizeof(watch->seen) / sizeof(watch->seen[0])))
		return;
	if (i == watch->kinds)
	{
		snprintf(watch->names[i], sizeof(watch->names[i]), "%s", name);
		watch->kinds++;
	}
	watch->seen[i]++;
	watch->total++;
}

static void *
watch_main(void *argument)
{
	static const struct timespec pause = {0, 5 * 1000 * 1000};
	Watch *watch = argument;

	while (!watch->stop)
	{
		PGresult *result =
			PQexecParams(watch->connection, watch->sql, 1, NULL, &watch->pids, NULL, NULL, 0);

		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s: %s", watch->sql, PQerrorMessage(watch->connection));
		for (int i = 0; i < PQntuples(result); i++)
			watch_count(watch, PQgetvalue(result, i, 0));
		PQclear(result);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void
watch_print(const Watch *watch)
{
	printf("     the servers were seen:");
	for (int i = 0; i < watch->kinds; i++)
	{
		double share = 100.0 * watch->seen[i] / watch->total;

		if (share >= 1)
			printf(" %s %.0f%%;", watch->names[i], share);
	}
	printf("\n");
}

/* Runs the clients for some seconds and counts what their servers are seen waiting for. */
static void
watch_run(const Bench *bench, Client *clients, int count, double seconds, Watch *watch)
{
	char pids[BENCH_MAX_CLIENTS * 12 + 2] = "{";
	pthread_t thread;

	for (int i = 0; i < count; i++)
		snprintf(pids + strlen(pids), sizeof(pids) - strlen(pids), "%s%d", i ? "," : "",
				 PQbackendPID(clients[i].connection));
	strcat(pids, "}");
	memset(watch, 0, sizeof(*watch));
	watch->sql = "SELECT coalesce(wait_event_type || ':' || wait_event, 'running')"
				 " FROM pg_catalog.pg_stat_activity"
				 " WHERE pid = ANY ($1::pg_catalog.int4[]) ORDER BY 1";
	watch->pids = pids;
	watch->connection = connection_open(bench);
	if (pthread_create(&thread, NULL, watch_main, watch) != 0)
		die("cannot start a thread");
	clients_run(clients, count, seconds);
	watch->stop = true;
	pthread_join(thread, NULL);
	PQfinish(watch->connection);
}

void
waits_print(const Bench *bench, Client *clients, int count, double seconds)
{
	Watch watch;

	watch_run(bench, clients, count, seconds, &watch);
	watch_print(&watch);
}

double
waits_share(const Bench *bench, Client *clients, int count, double seconds, const char *name)
{
	Watch watch;

	watch_run(bench, clients, count, seconds, &watch);
	for (int i = 0; i < watch.kinds; i++)
		if (strcmp(watch.names[i], name) == 0)
			return (double) watch.seen[i] / watch.total;
	return 0;
}
