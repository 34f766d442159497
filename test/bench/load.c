/*
 * load.c - fills the tables, and checks that every contender gives back the
 * very images that went in, so that nobody is measured sending ciphertext.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static void
copy_bytes(PGconn *connection, const void *bytes, size_t length)
{
	if (PQputCopyData(connection, bytes, (int) length) != 1)
		die("COPY: %s", PQerrorMessage(connection));
}

static void
copy_row(PGconn *connection, uint32_t id, const uint8_t *image, size_t size)
{
	uint8_t head[2 + 4 + 4 + 4];
	uint16_t fields = htons(2);
	uint32_t id_length = htonl(sizeof(id));
	uint32_t id_network = htonl(id);
	uint32_t image_length = htonl((uint32_t) size);

	memcpy(head, &fields, 2);
	memcpy(head + 2, &id_length, 4);
	memcpy(head + 6, &id_network, 4);
	memcpy(head + 10, &image_length, 4);
	copy_bytes(connection, head, sizeof(head));
	copy_bytes(connection, image, size);
}

static void
load_plain(PGconn *connection, const char *copy, int rows, size_t size)
{
	PGresult *result = PQexec(connection, copy);
	uint8_t *image = malloc(size);

	if (PQresultStatus(result) != PGRES_COPY_IN || image == NULL)
		die("%s: %s", copy, PQerrorMessage(connection));
	PQclear(result);
	copy_bytes(connection, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
	for (int id = 1; id <= rows; id++)
	{
		jpeg_make(image, size, (uint64_t) id);
		copy_row(connection, (uint32_t) id, image, size);
	}
	copy_bytes(connection, "\377\377", 2);
	if (PQputCopyEnd(connection, NULL) != 1)
		die("COPY: %s", PQerrorMessage(connection));
	while ((result = PQgetResult(connection)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die("%s: %s", copy, PQerrorMessage(connection));
		PQclear(result);
	}
	free(image);
}

static void
check_image(PGconn *connection, const char *sql, int id)
{
	uint8_t *expected = malloc(BENCH_IMAGE_SIZE);
	char number[16];
	const char *values[] = {number};
	PGresult *result;

	if (expected == NULL)
		die("out of memory");
	jpeg_make(expected, BENCH_IMAGE_SIZE, (uint64_t) id);
	snprintf(number, sizeof(number), "%d", id);
	result = PQexecParams(connection, sql, 1, NULL, values, NULL, NULL, 1);
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		die("%s: %s", sql, PQerrorMessage(connection));
	if (PQgetlength(result, 0, 0) != BENCH_IMAGE_SIZE ||
		memcmp(PQgetvalue(result, 0, 0), expected, BENCH_IMAGE_SIZE) != 0)
		die("%s: image %d is not what went in", sql, id);
	PQclear(result);
	free(expected);
}

void
phase_load(const Bench *bench)
{
	static const char *const reads[] = {
		"SELECT image FROM bench.plain WHERE id = $1",
		"SELECT image FROM bench.sealed WHERE id = $1",
		"SELECT public.decrypt_iv(image, bench.key(), iv, 'aes') FROM bench.crypt WHERE id = $1",
		"SELECT bench.read_image(id, image, iv) FROM bench.crypt WHERE id = $1",
	};
	PGconn *connection = connection_open(bench);

	load_plain(connection, "COPY bench.plain FROM STDIN BINARY", BENCH_IMAGES, BENCH_IMAGE_SIZE);
	load_plain(connection, "COPY bench.small_plain FROM STDIN BINARY", BENCH_SMALL_IMAGES,
			   BENCH_SMALL_IMAGE_SIZE);
	connection_execute(connection, "INSERT INTO bench.sealed SELECT id, image FROM bench.plain");
	connection_execute(connection,
					   "INSERT INTO bench.small_sealed SELECT id, image FROM bench.small_plain");
	connection_execute(connection, "INSERT INTO bench.crypt"
								   " SELECT id, public.encrypt_iv(image, bench.key(), iv, 'aes'),"
								   " iv FROM bench.plain, public.gen_random_bytes(16 + 0 * id) iv");
	connection_execute(connection, "VACUUM ANALYZE");
	connection_execute(connection, "CHECKPOINT");
	for (int id = 1; id <= BENCH_IMAGES; id += 50)
		for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
			check_image(connection, reads[i], id);
	printf("%d images of %d bytes, %d of %d; every contender returns what went in\n", BENCH_IMAGES,
		   BENCH_IMAGE_SIZE, BENCH_SMALL_IMAGES, BENCH_SMALL_IMAGE_SIZE);
	PQfinish(connection);
}
