/*
 * verify_images.c - does biometric.image_entry lead to the entries that name
 * an image, and to no others?
 *
 * The table is derived from the entries and has as many rows as they name
 * images, so it is not looked up row by row. Every row that the entries call
 * for adds a number to its group, every row that is there takes one away, in
 * whatever order; a group that agrees ends at zero. The numbers are made with
 * a random seed, new each time: nobody can choose rows that cancel out.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "ledger/image_index.h"
#include "ledger/verify.h"

/* What a number is made from. */
typedef struct ImageRow
{
	uint8 image_id[ENTRY_IMAGE_ID_SIZE];
	int64 sequence;
} ImageRow;

void
verify_images_begin(LogCheck *check)
{
	Size groups = (Size) (check->seen_limit / MERKLE_TILE_WIDTH + 1);

	check->images = palloc_extended(groups * sizeof(uint64), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	if (!pg_strong_random(&check->image_seed, sizeof(check->image_seed)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not get random bytes"),
						errhint("See whether the system has a source of randomness.")));
}

static uint64
number_of(const LogCheck *check, const uint8 *image_id, int64 sequence)
{
	ImageRow row = {.sequence = sequence};

	memcpy(row.image_id, image_id, sizeof(row.image_id));
	return hash_bytes_extended((const unsigned char *) &row, sizeof(row), check->image_seed);
}

void
verify_images_of_entry(LogCheck *check, int64 sequence, const EntryFields *fields)
{
	const uint8 *images[IMAGES_OF_ENTRY];
	int count = image_index_images(fields, images);

	for (int i = 0; i < count; i++)
		check->images[sequence / MERKLE_TILE_WIDTH] += number_of(check, images[i], sequence);
}

void
verify_image_row(LogCheck *check, const uint8 *image_id, int64 sequence)
{
	if (sequence >= check->first && sequence < check->seen_limit)
		check->images[sequence / MERKLE_TILE_WIDTH] -= number_of(check, image_id, sequence);
	else
		check->stray_images++;
}

void
verify_images(LogCheck *check)
{
	int64 groups = check->seen_limit / MERKLE_TILE_WIDTH + 1;

	/* An entry that is wrong says more than that its row of another table is, too. */
	if (check->problem != NULL)
		return;
	for (int64 index = 0; index < groups; index++)
		if (check->images[index] != 0)
		{
			verify_problem(check, index * MERKLE_TILE_WIDTH,
						   "entries " INT64_FORMAT " to " INT64_FORMAT
						   ": the rows of biometric.image_entry are not those of their images",
						   index * MERKLE_TILE_WIDTH, (index + 1) * MERKLE_TILE_WIDTH - 1);
			return;
		}
	if (check->stray_images > 0)
		verify_problem(check, check->size,
					   "biometric.image_entry leads to " INT64_FORMAT
					   " entries that the log does not have",
					   check->stray_images);
}
