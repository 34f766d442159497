/*
 * picture_hash.c - the perceptual hash. Whole numbers only, so that every
 * machine computes the same bits.
 */
#include "core/picture_hash.h"

#include <stdlib.h>
#include <string.h>

/* The whole picture is brought to FINE x FINE once, a window of it to COARSE x COARSE. */
#define FINE 256
#define COARSE 64
#define FREQUENCIES 16

/* Luminances are kept in 1/256, places in the picture in 1/256 of a cell of the fine grid. */
#define UNIT 256
#define WHOLE ((int64_t) FINE * UNIT)

/* Cosines in 1/16384. */
#define COSINE_ONE 16384

/* What a coefficient of an orthonormal transform, in luminances, is multiplied with here. */
#define COEFFICIENT_ONE ((int64_t) UNIT * COARSE / 2 * COSINE_ONE)

/*
 * What stands out by a few luminances counts as much as what stands out by many: by
 * SOFTNESS luminances half of the most, MOST.
 */
#define SOFTNESS 4
#define MOST 128

/* From how many coarse cells to each side the mean is taken that a cell stands out from. */
#define REACH 4

/*
 * A coefficient of less than a luminance is what rounding alone can make: its bit says
 * nothing. Of a plain surface that is true of all, of a symmetrical drawing of half.
 */
#define LEAST_COEFFICIENT (COEFFICIENT_ONE * MOST / SOFTNESS)
#define FLAT_COEFFICIENTS (PICTURE_HASH_BITS * 3 / 8)

/* Cuts are guessed in steps, each a part of 1000 of the original's side. */
#define CUT_STEP 25
#define CUT_STEPS 4
#define CUT_EDGES 4

/* Everything derived from the picture on the way to its hash; wiped and freed as one. */
typedef struct Work
{
	int64_t row[FINE];
	int64_t fine[FINE][FINE];
	int64_t narrow[FINE][COARSE];
	int64_t coarse[COARSE][COARSE];
	int64_t means[COARSE][COARSE];
	int64_t half[COARSE][FREQUENCIES];
	int64_t coefficients[FREQUENCIES][FREQUENCIES];
	int64_t turned[FREQUENCIES][FREQUENCIES];
	int64_t sorted[PICTURE_HASH_BITS];
} Work;

/* Which part of a side is looked at: begin and end, in WHOLE of its length. */
typedef struct Window
{
	int64_t begin;
	int64_t end;
} Window;

/* cos(k pi / 128), k from 0 to 64. */
static const int16_t cosines[65] = {
	16384, 16379, 16364, 16340, 16305, 16261, 16207, 16143, 16069, 15986, 15893, 15791, 15679,
	15557, 15426, 15286, 15137, 14978, 14811, 14635, 14449, 14256, 14053, 13842, 13623, 13395,
	13160, 12916, 12665, 12406, 12140, 11866, 11585, 11297, 11003, 10702, 10394, 10080, 9760,
	9434,  9102,  8765,	 8423,	8076,  7723,  7366,	 7005,	6639,  6270,  5897,	 5520,	5139,
	4756,  4370,  3981,	 3590,	3196,  2801,  2404,	 2006,	1606,  1205,  804,	 402,	0,
};

static int64_t
cosine(int k)
{
	k %= 4 * COARSE;
	if (k > 2 * COARSE)
		k = 4 * COARSE - k;
	return k <= COARSE ? cosines[k] : -cosines[2 * COARSE - k];
}

/*
 * The sum of values from place begin to place end, where value i reaches from
 * i * size to (i + 1) * size, each counted by how much of it lies between.
 */
static int64_t
overlap_of(int64_t i, int64_t size, int64_t begin, int64_t end)
{
	int64_t from = i * size > begin ? i * size : begin;
	int64_t to = (i + 1) * size < end ? (i + 1) * size : end;

	return to - from;
}

/* Adds a row of the picture's, brought to FINE cells, to row. */
static void
shrink_row(const uint8_t *pixels, uint32_t width, int64_t row[FINE])
{
	for (int64_t i = 0; i < FINE; i++)
	{
		int64_t begin = i * width;
		int64_t end = begin + width;
		int64_t sum = 0;

		for (int64_t x = begin / FINE; x * FINE < end; x++)
			sum += pixels[x] * overlap_of(x, FINE, begin, end);
		row[i] = sum * UNIT / width;
	}
}

/* Brings the whole picture to the fine grid. */
static void
shrink_picture(const PictureGrey *picture, Work *work)
{
	for (int64_t y = 0; y < picture->height; y++)
	{
		int64_t begin = y * FINE;
		int64_t end = begin + FINE;

		shrink_row(picture->pixels + (size_t) y * picture->width, picture->width, work->row);
		for (int64_t j = begin / picture->height; j < FINE && j * picture->height < end; j++)
		{
			int64_t weight = overlap_of(j, picture->height, begin, end);

			for (int i = 0; i < FINE; i++)
				work->fine[j][i] += work->row[i] * weight;
		}
	}
	for (int j = 0; j < FINE; j++)
		for (int i = 0; i < FINE; i++)
			work->fine[j][i] /= picture->height;
}

/* The mean of COARSE-th part i of a window over values step apart. */
static int64_t
mean_of(const int64_t *values, int step, const Window *window, int i)
{
	int64_t length = window->end - window->begin;
	int64_t begin = window->begin + length * i / COARSE;
	int64_t end = window->begin + length * (i + 1) / COARSE;
	int64_t sum = 0;

	for (int64_t x = begin / UNIT; x < FINE && x * UNIT < end; x++)
		sum += values[x * step] * overlap_of(x, UNIT, begin, end);
	return sum / (end - begin);
}

/* Brings a window of the fine grid to the coarse one. */
static void
look_through(Work *work, const Window *across, const Window *down)
{
	for (int y = 0; y < FINE; y++)
		for (int i = 0; i < COARSE; i++)
			work->narrow[y][i] = mean_of(work->fine[y], 1, across, i);
	for (int i = 0; i < COARSE; i++)
		for (int j = 0; j < COARSE; j++)
			work->coarse[j][i] = mean_of(&work->narrow[0][i], COARSE, down, j);
}

/* The mean of values step apart, of which there are COARSE, around value i. */
static int64_t
mean_around(const int64_t *values, int step, int i)
{
	int first = i < REACH ? 0 : i - REACH;
	int last = i + REACH < COARSE ? i + REACH : COARSE - 1;
	int64_t sum = 0;

	for (int k = first; k <= last; k++)
		sum += values[k * step];
	return sum / (last - first + 1);
}

/*
 * Puts by how much a cell stands out from those around it in the place of its
 * luminance, evened out. Without it the outline of a head decides nearly all
 * bits, and the heads of two people have much the same.
 */
static void
even_out(Work *work)
{
	for (int y = 0; y < COARSE; y++)
		for (int x = 0; x < COARSE; x++)
			work->means[y][x] = mean_around(work->coarse[y], 1, x);
	for (int y = 0; y < COARSE; y++)
		for (int x = 0; x < COARSE; x++)
		{
			int64_t out = work->coarse[y][x] - mean_around(&work->means[0][x], COARSE, y);

			work->coarse[y][x] = out * MOST * UNIT / (llabs(out) + SOFTNESS * UNIT);
		}
}

/* Takes the cosine transform of a window of the picture. */
static void
transform(Work *work, const Window *across, const Window *down)
{
	look_through(work, across, down);
	even_out(work);
	for (int y = 0; y < COARSE; y++)
		for (int u = 0; u < FREQUENCIES; u++)
		{
			int64_t sum = 0;

			for (int x = 0; x < COARSE; x++)
				sum += work->coarse[y][x] * cosine((2 * x + 1) * (u + 1));
			work->half[y][u] = sum;
		}
	for (int v = 0; v < FREQUENCIES; v++)
		for (int u = 0; u < FREQUENCIES; u++)
		{
			int64_t sum = 0;

			for (int y = 0; y < COARSE; y++)
				sum += work->half[y][u] * cosine((2 * y + 1) * (v + 1)) / COSINE_ONE;
			work->coefficients[v][u] = sum;
		}
}

static int
compare_numbers(const void *a, const void *b)
{
	int64_t one = *(const int64_t *) a;
	int64_t other = *(const int64_t *) b;

	return (one > other) - (one < other);
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
	qsort(work->sorted, PICTURE_HASH_BITS, sizeof(work->sorted[0]), compare_numbers);
	middle = work->sorted[PICTURE_HASH_BITS / 2 - 1];
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
		.begin = WHOLE * (PICTURE_HASH_MARGIN - before) / left,
		.end = WHOLE * (1000 - PICTURE_HASH_MARGIN - before) / left,
	};
}

/* Begins: NULL where there is nothing to hash. To be ended with work_end. */
static Work *
work_begin(const PictureGrey *picture)
{
	Work *work;

	if (picture->width < PICTURE_HASH_LEAST_SIDE || picture->height < PICTURE_HASH_LEAST_SIDE)
		return NULL;
	work = calloc(1, sizeof(*work));
	if (work != NULL)
		shrink_picture(picture, work);
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
