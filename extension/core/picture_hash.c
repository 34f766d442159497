/*
 * picture_hash.c - the perceptual hash. Whole numbers only, so that every
 * machine computes the same bits.
 */
#include "core/picture_hash.h"

#include <stdlib.h>
#include <string.h>

/* A window of the picture is brought to COARSE x COARSE cells. */
#define COARSE 64
#define HALF (COARSE / 2)
#define FREQUENCIES 16

/* Places along a side are kept in 1/WHOLE of it. */
#define WHOLE 65536

/* The most pixels of a side that one cell touches. */
#define TOUCHED (PICTURE_HASH_MOST_SIDE / COARSE + 2)

/* Of how many parts a cell's share of its pixels is made; 255 times as much is 16 bits. */
#define SHARES 256

/* Luminances are kept in 1/64. */
#define UNIT 64

/* Cosines in 1/16384. */
#define COSINE_ONE 16384

/*
 * What stands out by a few luminances counts as much as what stands out by many: by
 * SOFTNESS luminances half of the most, MOST.
 */
#define SOFTNESS 4
#define MOST 2048

/* From how many coarse cells to each side the mean is taken that a cell stands out from. */
#define REACH 4

/* What is taken off between the two passes of the transform, to leave room for the second. */
#define BETWEEN 4096

/*
 * A coefficient of less than a luminance is what rounding alone can make: its bit says
 * nothing. Of a plain surface that is true of all, of a symmetrical drawing of half.
 * One luminance stands out by MOST / SOFTNESS; the rest is by what our transform is
 * larger than an orthonormal one.
 */
#define LEAST_COEFFICIENT                                                                          \
	((int64_t) MOST / SOFTNESS * HALF * ((int64_t) COSINE_ONE * COSINE_ONE / BETWEEN))
#define FLAT_COEFFICIENTS (PICTURE_HASH_BITS * 3 / 8)

/* Cuts are guessed in steps, each a part of 1000 of the original's side. */
#define CUT_STEP 25
#define CUT_STEPS 4
#define CUT_EDGES 4

/* Which part of a side is looked at: begin and end, in WHOLE of its length. */
typedef struct Window
{
	int64_t begin;
	int64_t end;
} Window;

/* How the pixels along a side of a window are shared among its cells. */
typedef struct Sharing
{
	uint32_t most; /* pixels that a cell touches */
	uint32_t first[COARSE];
	uint16_t shares[COARSE][TOUCHED]; /* of pixel first and those behind it: SHARES together */
} Sharing;

/*
 * Everything derived from the picture on the way to its hash; wiped and freed as one. Small
 * types: what is multiplied most often is 16 bits wide, so that compilers do eight at a time.
 */
typedef struct Work
{
	const PictureGrey *picture;
	int16_t cosines[FREQUENCIES][HALF]; /* from 1 on; the other half is the same or negative */
	Sharing across;
	Sharing down;
	uint16_t line[PICTURE_HASH_MOST_SIDE + TOUCHED];
	uint16_t coarse[COARSE][COARSE];
	uint32_t sums[COARSE][COARSE];
	int16_t evened[COARSE][COARSE];
	int32_t columns[FREQUENCIES][COARSE];
	int64_t coefficients[FREQUENCIES][FREQUENCIES];
	int64_t turned[FREQUENCIES][FREQUENCIES];
	int64_t sorted[PICTURE_HASH_BITS];
} Work;

/* cos(k pi / 128), k from 0 to 64. */
static const int16_t cosines[65] = {
	16384, 16379, 16364, 16340, 16305, 16261, 16207, 16143, 16069, 15986, 15893, 15791, 15679,
	15557, 15426, 15286, 15137, 14978, 14811, 14635, 14449, 14256, 14053, 13842, 13623, 13395,
	13160, 12916, 12665, 12406, 12140, 11866, 11585, 11297, 11003, 10702, 10394, 10080, 9760,
	9434,  9102,  8765,	 8423,	8076,  7723,  7366,	 7005,	6639,  6270,  5897,	 5520,	5139,
	4756,  4370,  3981,	 3590,	3196,  2801,  2404,	 2006,	1606,  1205,  804,	 402,	0,
};

static int16_t
cosine(int k)
{
	k %= 4 * COARSE;
	if (k > 2 * COARSE)
		k = 4 * COARSE - k;
	return (int16_t) (k <= COARSE ? cosines[k] : -cosines[2 * COARSE - k]);
}

/*
 * Divides a window of a side among the cells. What a cell has of its pixels is rounded so
 * that it has SHARES in all.
 */
static void
share_side(uint32_t side, const Window *window, Sharing *sharing)
{
	/* a pixel is so long, where the side is WHOLE * COARSE * side long */
	const uint64_t pixel = (uint64_t) WHOLE * COARSE;
	uint64_t length = side * (uint64_t) (window->end - window->begin);
	uint64_t begin = side * (uint64_t) window->begin * COARSE;

	memset(sharing, 0, sizeof(*sharing));
	for (int i = 0; i < COARSE; i++, begin += length)
	{
		uint64_t x = begin / pixel;
		uint64_t given = 0;
		uint32_t count = 0;

		sharing->first[i] = (uint32_t) x;
		for (; x * pixel < begin + length; x++)
		{
			uint64_t end = (x + 1) * pixel < begin + length ? (x + 1) * pixel : begin + length;
			uint64_t due = ((end - begin) * SHARES + length / 2) / length;

			sharing->shares[i][count++] = (uint16_t) (due - given);
			given = due;
		}
		sharing->most = count > sharing->most ? count : sharing->most;
	}
}

/* Adds a row of count pixels, so many times, to a line. */
static void
add_row(const uint8_t *pixels, uint32_t count, uint16_t times, uint16_t *line)
{
	uint32_t x = 0;

	for (; x + 16 <= count; x += 16)
		for (int i = 0; i < 16; i++)
			line[x + i] += (uint16_t) (pixels[x + i] * times);
	for (; x < count; x++)
		line[x] += (uint16_t) (pixels[x] * times);
}

/* Brings a window of the picture to the coarse cells. */
static void
look_through(Work *work, const Window *across, const Window *down)
{
	uint32_t width = work->picture->width;

	share_side(width, across, &work->across);
	share_side(work->picture->height, down, &work->down);
	for (int j = 0; j < COARSE; j++)
	{
		const uint8_t *row = work->picture->pixels + (size_t) work->down.first[j] * width;

		memset(work->line, 0, (width + TOUCHED) * sizeof(work->line[0]));
		for (uint32_t k = 0; k < work->down.most; k++, row += width)
			if (work->down.shares[j][k] > 0)
				add_row(row, width, work->down.shares[j][k], work->line);
		for (int i = 0; i < COARSE; i++)
		{
			const uint16_t *from = work->line + work->across.first[i];
			uint32_t sum = 0;

			/* those that it does not touch have no share: as many for each, for speed */
			for (uint32_t k = 0; k < work->across.most; k++)
				sum += (uint32_t) from[k] * work->across.shares[i][k];
			work->coarse[j][i] = (uint16_t) (sum / (SHARES * SHARES / UNIT));
		}
	}
}

/* From which cell to which the mean is taken that cell i stands out from. */
static int
first_around(int i)
{
	return i < REACH ? 0 : i - REACH;
}

static int
last_around(int i)
{
	return i + REACH < COARSE ? i + REACH : COARSE - 1;
}

/* Sums up rows of the cells around each, for the row of sums; carried on from row to row. */
static void
carry_sums(Work *work, int y, uint32_t columns[COARSE])
{
	uint32_t sum = 0;

	for (int k = y == 0 ? 0 : last_around(y - 1) + 1; k <= last_around(y); k++)
		for (int x = 0; x < COARSE; x++)
			columns[x] += work->coarse[k][x];
	for (int x = 0; x < COARSE && y > REACH; x++)
		columns[x] -= work->coarse[y - REACH - 1][x];
	for (int x = 0; x < REACH; x++)
		sum += columns[x];
	for (int x = 0; x < COARSE; x++)
	{
		sum += x + REACH < COARSE ? columns[x + REACH] : 0;
		sum -= x > REACH ? columns[x - REACH - 1] : 0;
		work->sums[y][x] = sum;
	}
}

/*
 * Finds by how much each cell stands out from those around it, evened out. Without it the
 * outline of a head decides nearly all bits, and the heads of two people have much the same.
 */
static void
even_out(Work *work)
{
	uint32_t columns[COARSE] = {0};

	for (int y = 0; y < COARSE; y++)
	{
		uint32_t rows = (uint32_t) (last_around(y) - first_around(y) + 1);

		carry_sums(work, y, columns);
		for (int x = 0; x < COARSE; x++)
		{
			/* all of it times the number of cells, and below 2^32 */
			uint32_t cells = rows * (uint32_t) (last_around(x) - first_around(x) + 1);
			int32_t out = (int32_t) (work->coarse[y][x] * cells) - (int32_t) work->sums[y][x];
			uint32_t size = (uint32_t) abs(out);
			int16_t evened = (int16_t) (size * MOST / (size + SOFTNESS * UNIT * cells));

			work->evened[y][x] = (int16_t) (out < 0 ? -evened : evened);
		}
	}
	core_wipe(columns, sizeof(columns));
}

/* The first pass: the frequencies of a row. What is even in it meets even cosines only. */
static void
transform_row(Work *work, int y)
{
	const int16_t *row = work->evened[y];
	int16_t folded[2][HALF];

	for (int x = 0; x < HALF; x++)
	{
		folded[0][x] = (int16_t) (row[x] - row[COARSE - 1 - x]);
		folded[1][x] = (int16_t) (row[x] + row[COARSE - 1 - x]);
	}
	for (int u = 0; u < FREQUENCIES; u++)
	{
		int32_t sum = 0;

		for (int x = 0; x < HALF; x++)
			sum += folded[u % 2][x] * work->cosines[u][x];
		work->columns[u][y] = sum / BETWEEN;
	}
	core_wipe(folded, sizeof(folded));
}

static void
transform_column(Work *work, int u)
{
	const int32_t *column = work->columns[u];
	int32_t folded[2][HALF];

	for (int y = 0; y < HALF; y++)
	{
		folded[0][y] = column[y] - column[COARSE - 1 - y];
		folded[1][y] = column[y] + column[COARSE - 1 - y];
	}
	for (int v = 0; v < FREQUENCIES; v++)
	{
		int64_t sum = 0;

		for (int y = 0; y < HALF; y++)
			sum += (int64_t) folded[v % 2][y] * work->cosines[v][y];
		work->coefficients[v][u] = sum;
	}
	core_wipe(folded, sizeof(folded));
}

/* Takes the cosine transform of a window of the picture. */
static void
transform(Work *work, const Window *across, const Window *down)
{
	look_through(work, across, down);
	even_out(work);
	for (int y = 0; y < COARSE; y++)
		transform_row(work, y);
	for (int u = 0; u < FREQUENCIES; u++)
		transform_column(work, u);
}

/* Tells whether the picture has enough in it to be known by. */
static bool
shows_something(const Work *work)
{
	int small = 0;

	for (int i = 0; i < PICTURE_HASH_BITS; i++)
		small += llabs(work->coefficients[i / FREQUENCIES][i % FREQUENCIES]) < LEAST_COEFFICIENT;
	return small <= FLAT_COEFFICIENTS;
}

/* The value that would be at a place if values were sorted, which they are in part afterwards. */
static int64_t
select_value(int64_t *values, int count, int place)
{
	int low = 0;
	int high = count - 1;

	while (low < high)
	{
		int64_t middle = values[(low + high) / 2];
		int i = low;
		int j = high;

		while (i <= j)
		{
			while (values[i] < middle)
				i++;
			while (values[j] > middle)
				j--;
			if (i <= j)
			{
				int64_t value = values[i];

				values[i++] = values[j];
				values[j--] = value;
			}
		}
		if (place <= j)
			high = j;
		else if (place >= i)
			low = i;
		else
			break;
	}
	return values[place];
}

/*
 * The hash of the transformed window, seen turned: bit 0 of turn mirrors it left to
 * right, bit 1 top to bottom, bit 2 exchanges the axes. Mirroring changes the
 * sign of every other frequency.
 */
static void
read_bits(Work *work, int turn, uint8_t hash[PICTURE_HASH_SIZE])
{
	int64_t *bits = &work->turned[0][0];
	int64_t middle;

	for (int v = 0; v < FREQUENCIES; v++)
		for (int u = 0; u < FREQUENCIES; u++)
		{
			int64_t found = (turn & 4) != 0 ? work->coefficients[u][v] : work->coefficients[v][u];
			bool negative = ((turn & 1) != 0 && u % 2 == 0) != ((turn & 2) != 0 && v % 2 == 0);

			work->turned[v][u] = negative ? -found : found;
		}
	memcpy(work->sorted, bits, sizeof(work->sorted));
	middle = select_value(work->sorted, PICTURE_HASH_BITS, PICTURE_HASH_BITS / 2 - 1);
	memset(hash, 0, PICTURE_HASH_SIZE);
	for (int i = 0; i < PICTURE_HASH_BITS; i++)
		if (bits[i] > middle)
			hash[i / 8] |= (uint8_t) (0x80 >> i % 8);
}

/*
 * Where the original's inner part lies in what is left of a side after before
 * and after, in 1/1000 of the original's side, were cut off.
 */
static Window
inner_window(int before, int after)
{
	int64_t left = 1000 - before - after;

	return (Window){
		.begin = (int64_t) WHOLE * (PICTURE_HASH_MARGIN - before) / left,
		.end = WHOLE - (int64_t) WHOLE * (PICTURE_HASH_MARGIN - after) / left,
	};
}

/* Begins: NULL where there is nothing to hash. To be ended with work_end. */
static Work *
work_begin(const PictureGrey *picture)
{
	Work *work;

	if (picture->width < PICTURE_HASH_LEAST_SIDE || picture->height < PICTURE_HASH_LEAST_SIDE ||
		picture->width > PICTURE_HASH_MOST_SIDE || picture->height > PICTURE_HASH_MOST_SIDE)
		return NULL;
	work = malloc(sizeof(*work));
	if (work == NULL)
		return NULL;
	work->picture = picture;
	for (int u = 0; u < FREQUENCIES; u++)
		for (int x = 0; x < HALF; x++)
			work->cosines[u][x] = cosine((2 * x + 1) * (u + 1));
	return work;
}

static void
work_end(Work *work)
{
	core_wipe(work, sizeof(*work));
	free(work);
}

bool
picture_hash(const PictureGrey *picture, uint8_t hash[PICTURE_HASH_SIZE])
{
	Window inner = inner_window(0, 0);
	Work *work = work_begin(picture);
	bool found;

	memset(hash, 0, PICTURE_HASH_SIZE);
	if (work == NULL)
		return false;
	transform(work, &inner, &inner);
	found = shows_something(work);
	if (found)
		read_bits(work, 0, hash);
	work_end(work);
	return found;
}

/* Guesses that one and the same part was cut from each of some edges, for each part and edges. */
static int
guess_cuts(Work *work, uint8_t hashes[PICTURE_HASH_GUESSES][PICTURE_HASH_SIZE], int count)
{
	for (int step = 1; step <= CUT_STEPS; step++)
		for (int edges = 1; edges < 1 << CUT_EDGES; edges++)
		{
			int cut = step * CUT_STEP;
			Window across = inner_window((edges & 1) != 0 ? cut : 0, (edges & 2) != 0 ? cut : 0);
			Window down = inner_window((edges & 4) != 0 ? cut : 0, (edges & 8) != 0 ? cut : 0);

			transform(work, &across, &down);
			read_bits(work, 0, hashes[count++]);
		}
	return count;
}

int
picture_hash_guesses(const PictureGrey *picture,
					 uint8_t hashes[PICTURE_HASH_GUESSES][PICTURE_HASH_SIZE])
{
	Window inner = inner_window(0, 0);
	Work *work = work_begin(picture);
	int count = 0;

	if (work == NULL)
		return 0;
	transform(work, &inner, &inner);
	if (shows_something(work))
	{
		for (int turn = 0; turn < 8; turn++)
			read_bits(work, turn, hashes[count++]);
		count = guess_cuts(work, hashes, count);
	}
	work_end(work);
	return count;
}

int
picture_hash_distance(const uint8_t *one, const uint8_t *other)
{
	int distance = 0;

	for (int i = 0; i < PICTURE_HASH_SIZE; i += 8)
	{
		uint64_t a;
		uint64_t b;

		memcpy(&a, one + i, sizeof(a));
		memcpy(&b, other + i, sizeof(b));
		distance += __builtin_popcountll(a ^ b);
	}
	return distance;
}

void
picture_hash_blind(const SealKey *key, const uint8_t hash[PICTURE_HASH_SIZE],
				   uint8_t blinded[PICTURE_HASH_SIZE])
{
	uint8_t moved[PICTURE_HASH_SIZE] = {0};

	for (int i = 0; i < PICTURE_HASH_BITS; i++)
	{
		int from = key->blind_order[i];

		if ((hash[from / 8] & (0x80 >> from % 8)) != 0)
			moved[i / 8] |= (uint8_t) (0x80 >> i % 8);
	}
	for (int i = 0; i < PICTURE_HASH_SIZE; i++)
		blinded[i] = moved[i] ^ key->blind_mask[i];
	core_wipe(moved, sizeof(moved));
}
