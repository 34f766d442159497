/*
 * trace.c - how long it takes to find the image that a leaked picture is of.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* Pictures that are drawn, and rows of each: as many images are searched. */
#define PICTURES 1000
#define ROWS_AT_ONCE 100
#define SIDE 48
#define PNG_MAX (SIDE * (SIDE + 1) + 128)

/* A growing PNG file. */
typedef struct Png
{
	uint8_t bytes[PNG_MAX];
	size_t length;
} Png;

static void
put_number(Png *png, uint32_t value)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		png->bytes[png->length++] = (uint8_t) (value >> shift);
}

static void
put_bytes(Png *png, const void *bytes, size_t length)
{
	memcpy(png->bytes + png->length, bytes, length);
	png->length += length;
}

static uint32_t
crc32_of(const uint8_t *bytes, size_t length)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < length * 8; i++)
	{
		uint32_t bit = (crc ^ (uint32_t) bytes[i / 8] >> i % 8) & 1;

		crc = crc >> 1 ^ (bit ? 0xedb88320u : 0);
	}
	return ~crc;
}

static uint32_t
adler32_of(const uint8_t *bytes, size_t length)
{
	uint32_t a = 1;
	uint32_t b = 0;

	for (size_t i = 0; i < length; i++)
	{
		a = (a + bytes[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

static void
put_chunk(Png *png, const char *type, const Png *data)
{
	size_t start;

	put_number(png, (uint32_t) data->length);
	start = png->length;
	put_bytes(png, type, 4);
	put_bytes(png, data->bytes, data->length);
	put_number(png, crc32_of(png->bytes + start, png->length - start));
}

/* Grey noise that depends on the seed; a stored block, nothing is compressed. */
static void
draw(Png *png, uint64_t seed)
{
	static const uint8_t block[] = {0x78, 0x01, 0x01};
	uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
	uint8_t lines[SIDE * (SIDE + 1)];
	uint16_t lengths[2] = {sizeof(lines), (uint16_t) ~sizeof(lines)}; /* little-endian */
	Png data = {.length = 0};

	for (size_t i = 0; i < sizeof(lines); i++)
		lines[i] = i % (SIDE + 1) == 0 ? 0 : (uint8_t) (random_next(&state) >> 24);
	png->length = 0;
	put_bytes(png, "\x89PNG\r\n\x1a\n", 8);
	put_number(&data, SIDE);
	put_number(&data, SIDE);
	put_bytes(&data, "\x08\0\0\0\0", 5);
	put_chunk(png, "IHDR", &data);
	data.length = 0;
	put_bytes(&data, block, sizeof(block));
	for (int i = 0; i < 4; i++)
		data.bytes[data.length++] = (uint8_t) (lengths[i / 2] >> i % 2 * 8);
	put_bytes(&data, lines, sizeof(lines));
	put_number(&data, adler32_of(lines, sizeof(lines)));
	put_chunk(png, "IDAT", &data);
	data.length = 0;
	put_chunk(png, "IEND", &data);
}

/* Runs a statement with a number and a picture; returns how long it took. */
static double
run_with(PGconn *connection, const char *sql, int number, const Png *png, int *rows)
{
	char text[16];
	const char *values[] = {text, (const char *) png->bytes};
	const int lengths[] = {0, (int) png->length};
	const int formats[] = {0, 1};
	double start = now_seconds();
	PGresult *result;

	snprintf(text, sizeof(text), "%d", number);
	result = PQexecParams(connection, sql, 2, NULL, values, lengths, formats, 1);
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		die("%s: %s", sql, PQerrorMessage(connection));
	*rows = PQntuples(result);
	PQclear(result);
	return now_seconds() - start;
}

/*
 * Stores as many images as are wanted: copies of sealed pictures, each row with an entry
 * of its own. Nothing is compared less often because a picture comes more than once.
 */
static void
store_images(PGconn *connection, double wanted)
{
	static const char enrol[] = "INSERT INTO bench.traced_source VALUES ($1, "
								"$2::pg_catalog.bytea::biometric.face_image)";
	char sql[256];
	Png png;
	int rows;

	connection_execute(
		connection,
		"CREATE TABLE bench.traced_source (id pg_catalog.int4, image biometric.face_image);"
		"CREATE UNLOGGED TABLE bench.traced (id pg_catalog.int4, image biometric.face_image)");
	connection_execute(connection, "BEGIN");
	for (int i = 1; i <= PICTURES; i++)
	{
		draw(&png, (uint64_t) i);
		run_with(connection, enrol, i, &png, &rows);
	}
	connection_execute(connection, "COMMIT");
	snprintf(sql, sizeof(sql),
			 "INSERT INTO bench.traced SELECT id, image FROM bench.traced_source, "
			 "pg_catalog.generate_series(1, %d)",
			 ROWS_AT_ONCE);
	for (double stored = PICTURES; stored < wanted; stored += PICTURES * ROWS_AT_ONCE)
		connection_execute(connection, sql);
	/* the rest of the ledger is of no interest here */
	connection_execute(connection, "TRUNCATE bench.traced");
}

void
phase_trace(const Bench *bench)
{
	static const char trace[] = "SELECT seq FROM biometric.trace($2::pg_catalog.bytea) "
								"WHERE $1::pg_catalog.int4 IS NOT NULL";
	Figure figure = {"a picture traced, among 1M images", 0, " ms", 1000, AT_MOST};
	PGconn *connection = connection_open(bench);
	double wanted = bench->variant[0] == '\0' ? 1000000 : strtod(bench->variant, NULL);
	double until;
	Series unknown = {0};
	Series known = {0};
	Png png;
	int rows;

	connection_execute(connection, "SET client_min_messages = warning");
	store_images(connection, wanted);
	connection_execute(connection, "CHECKPOINT");
	until = now_seconds() + bench->seconds;
	for (int round = 1; unknown.count < 5 || now_seconds() < until; round++)
	{
		draw(&png, (uint64_t) (PICTURES + round));
		series_add(&unknown, run_with(connection, trace, round, &png, &rows));
		if (rows > 0)
			die("a picture that was never enrolled was found");
		draw(&png, (uint64_t) round % PICTURES + 1);
		series_add(&known, run_with(connection, trace, round, &png, &rows));
		if (rows == 0)
			die("a picture that was enrolled was not found");
	}
	printf(
		"  among %.0f images: one that was never enrolled %.0f ms, one that was stored %.0f times "
		"%.0f ms\n",
		wanted, series_median(&unknown) * 1e3, wanted / PICTURES, series_median(&known) * 1e3);
	figure.value = series_median(&unknown) * 1e3;
	figure_report(bench, &figure);
	series_free(&unknown);
	series_free(&known);
	PQfinish(connection);
}
