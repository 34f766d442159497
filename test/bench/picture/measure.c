/*
 * measure.c - the tables of doc/picture-hash.md: how far a hash moves when its picture
 * is changed, how near those of different pictures come, and what hashing costs.
 *
 *   measure IMAGES [NUMBER]   IMAGES: the folder of real pictures; NUMBER: of invented
 *                             faces to compare with each other (default 1500)
 */
#include "canvas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/picture_hash.h"
#include "picture/picture.h"

#define SUBJECTS 60 /* invented pictures of each kind that are changed */
#define QUERIES 150 /* pictures whose guesses are compared with all others */
#define SEEN 1000	/* the most distances that a row of the first table is made of */
#define STORED_QUALITY 90
#define LEAKED_QUALITY 85

typedef struct Hash
{
	uint8_t bits[PICTURE_HASH_SIZE];
} Hash;

typedef struct Guesses
{
	uint8_t bits[PICTURE_HASH_GUESSES][PICTURE_HASH_SIZE];
	int count;
} Guesses;

typedef Canvas (*Drawing)(uint64_t subject);

/* What is done to a picture: which change, with a number; afterwards written as JPEG or PNG. */
typedef struct Change
{
	const char *name;
	Canvas (*apply)(const Canvas *picture, double number);
	double number;
	int quality; /* of JPEG, 0: PNG */
} Change;

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static bool
decode(const File *file, PictureGrey *grey)
{
	static const PictureLimits limits = {.pixels = 100000000, .time_ms = 60000};

	return picture_decode(file->bytes[0] == 0xff ? IMAGE_FORMAT_JPEG : IMAGE_FORMAT_PNG,
						  file->bytes, file->length, &limits, grey);
}

static Hash
hash_of(const File *file)
{
	Hash hash;
	PictureGrey grey;

	if (!decode(file, &grey) || !picture_hash(&grey, hash.bits))
		die("a picture has no hash");
	picture_free(&grey);
	return hash;
}

static Guesses
guesses_of(const File *file)
{
	Guesses guesses = {.count = 0};
	PictureGrey grey;

	if (!decode(file, &grey))
		die("a picture cannot be decoded");
	guesses.count = picture_hash_guesses(&grey, guesses.bits);
	picture_free(&grey);
	return guesses;
}

/* The least distance of any guess, as trace() has it. */
static int
nearest(const Hash *hash, const Guesses *guesses)
{
	int least = PICTURE_HASH_BITS;

	for (int i = 0; i < guesses->count; i++)
	{
		int distance = picture_hash_distance(hash->bits, guesses->bits[i]);

		least = distance < least ? distance : least;
	}
	return least;
}

static Canvas
keep(const Canvas *c, double n)
{
	return canvas_crop(c, 0, 0, 0, 0);
}

static Canvas
scale(const Canvas *c, double n)
{
	return canvas_scale(c, (int) (c->width * n), (int) (c->height * n));
}

static Canvas
stretch(const Canvas *c, double n)
{
	return canvas_scale(c, (int) (c->width * n), c->height);
}

static Canvas
crop_left(const Canvas *c, double n)
{
	return canvas_crop(c, n, 0, 0, 0);
}

static Canvas
crop_bottom(const Canvas *c, double n)
{
	return canvas_crop(c, 0, 0, 0, n);
}

static Canvas
crop_corner(const Canvas *c, double n)
{
	return canvas_crop(c, n, 0, n, 0);
}

static Canvas
crop_all(const Canvas *c, double n)
{
	return canvas_crop(c, n, n, n, n);
}

static Canvas
crop_uneven(const Canvas *c, double n)
{
	return canvas_crop(c, n, n / 3, n / 2, 0);
}

static Canvas
brighten(const Canvas *c, double n)
{
	return canvas_level(c, 1, n, 1);
}

static Canvas
contrast(const Canvas *c, double n)
{
	return canvas_level(c, n, 0, 1);
}

static Canvas
gamma_of(const Canvas *c, double n)
{
	return canvas_level(c, 1, 0, n);
}

static Canvas
grey(const Canvas *c, double n)
{
	return canvas_grey(c);
}

static Canvas
mirror(const Canvas *c, double n)
{
	return canvas_turn(c, false, true);
}

static Canvas
quarter(const Canvas *c, double n)
{
	return canvas_turn(c, true, true);
}

static Canvas
noise(const Canvas *c, double n)
{
	Canvas made = canvas_crop(c, 0, 0, 0, 0);

	draw_noise(&made, 99, n, 0.003);
	return made;
}

static const Change changes[] = {
	{"none: the file itself, or without its metadata", keep, 0, STORED_QUALITY},
	{"PNG", keep, 0, 0},
	{"JPEG, quality 90", keep, 0, 90},
	{"JPEG, quality 70", keep, 0, 70},
	{"JPEG, quality 50", keep, 0, 50},
	{"JPEG, quality 30", keep, 0, 30},
	{"JPEG, quality 10", keep, 0, 10},
	{"scaled to 150 %", scale, 1.5, LEAKED_QUALITY},
	{"scaled to 75 %", scale, 0.75, LEAKED_QUALITY},
	{"scaled to 50 %", scale, 0.5, LEAKED_QUALITY},
	{"scaled to 25 %", scale, 0.25, LEAKED_QUALITY},
	{"width alone to 80 %", stretch, 0.8, LEAKED_QUALITY},
	{"2 % cut off at the left", crop_left, 0.02, LEAKED_QUALITY},
	{"5 % cut off at the left", crop_left, 0.05, LEAKED_QUALITY},
	{"10 % cut off at the left", crop_left, 0.10, LEAKED_QUALITY},
	{"15 % cut off at the left", crop_left, 0.15, LEAKED_QUALITY},
	{"10 % cut off at the bottom", crop_bottom, 0.10, LEAKED_QUALITY},
	{"7 % cut off at the left and at the top", crop_corner, 0.07, LEAKED_QUALITY},
	{"2 % cut off at each edge", crop_all, 0.02, LEAKED_QUALITY},
	{"5 % cut off at each edge", crop_all, 0.05, LEAKED_QUALITY},
	{"10 % cut off at each edge", crop_all, 0.10, LEAKED_QUALITY},
	{"15 % cut off at each edge", crop_all, 0.15, LEAKED_QUALITY},
	{"9 % left, 3 % right, 4.5 % top cut off", crop_uneven, 0.09, LEAKED_QUALITY},
	{"5 % at each edge, quality 30", crop_all, 0.05, 30},
	{"brighter by 40 of 255", brighten, 40, LEAKED_QUALITY},
	{"darker by 40 of 255", brighten, -40, LEAKED_QUALITY},
	{"contrast 70 %", contrast, 0.7, LEAKED_QUALITY},
	{"contrast 150 %", contrast, 1.5, LEAKED_QUALITY},
	{"gamma 0.6", gamma_of, 0.6, LEAKED_QUALITY},
	{"gamma 1.6", gamma_of, 1.6, LEAKED_QUALITY},
	{"grey", grey, 0, LEAKED_QUALITY},
	{"noise of 15 of 255", noise, 15, LEAKED_QUALITY},
	{"mirrored", mirror, 0, LEAKED_QUALITY},
	{"turned by a quarter", quarter, 0, LEAKED_QUALITY},
	{"turned by 1 degree", canvas_rotate, 1, LEAKED_QUALITY},
	{"turned by 2 degrees", canvas_rotate, 2, LEAKED_QUALITY},
	{"turned by 5 degrees", canvas_rotate, 5, LEAKED_QUALITY},
	{"a caption over 8 % of the height", canvas_caption, 0.08, LEAKED_QUALITY},
	{"a caption over 20 % of the height", canvas_caption, 0.20, LEAKED_QUALITY},
};

static int
compare_ints(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

static void
print_change(const char *name, int *distances, int count)
{
	int found = 0;

	qsort(distances, (size_t) count, sizeof(int), compare_ints);
	for (int i = 0; i < count; i++)
		found += distances[i] <= PICTURE_HASH_NEAR;
	printf("| %s | %d | %d | %d | %.0f %% |\n", name, distances[count / 2],
		   distances[count * 95 / 100], distances[count - 1], 100.0 * found / count);
	fflush(stdout);
}

static void
measure_changes(const Canvas *subjects, int count)
{
	Hash *stored = calloc((size_t) count, sizeof(Hash));

	for (int i = 0; i < count; i++)
	{
		File file = write_jpeg(&subjects[i], STORED_QUALITY, false);

		stored[i] = hash_of(&file);
		free(file.bytes);
	}
	printf(
		"\n%d pictures, each stored as JPEG of quality %d; changed copies are JPEG of quality %d "
		"unless said otherwise.\n\n| what was done | median | 95 %% | largest | found |\n"
		"|---|---|---|---|---|\n",
		count, STORED_QUALITY, LEAKED_QUALITY);
	for (size_t c = 0; c < sizeof(changes) / sizeof(changes[0]); c++)
	{
		int distances[SEEN];

		for (int i = 0; i < count; i++)
		{
			Canvas changed = changes[c].apply(&subjects[i], changes[c].number);
			File file = changes[c].quality > 0 ? write_jpeg(&changed, changes[c].quality, false)
											   : write_png(&changed);
			Guesses guesses = guesses_of(&file);

			distances[i] = nearest(&stored[i], &guesses);
			free(file.bytes);
			canvas_free(&changed);
		}
		print_change(changes[c].name, distances, count);
	}
	free(stored);
}

/* How many of a histogram's distances are at most so large. */
static long long
at_most(const long long *histogram, int distance)
{
	long long sum = 0;

	for (int i = 0; i <= distance; i++)
		sum += histogram[i];
	return sum;
}

static void
print_histogram(const char *name, const long long *histogram)
{
	static const int marks[] = {40, 44, 48, 52, 56, 60, 64, 72};
	long long all = at_most(histogram, PICTURE_HASH_BITS);
	int least = 0;
	int middle = 0;

	while (at_most(histogram, least) == 0)
		least++;
	while (at_most(histogram, middle) < all / 2)
		middle++;
	printf("| %s | %lld | %d | %d |", name, all, least, middle);
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		printf(" %lld |", at_most(histogram, marks[i]));
	printf("\n");
	fflush(stdout);
}

static Canvas
some_face(uint64_t i)
{
	return draw_face(i, 1);
}

static Canvas
some_lane(uint64_t i)
{
	return draw_lane(i, 1);
}

static Canvas
same_person(uint64_t i)
{
	return draw_face(i / 10, i % 10);
}

/* Compares pictures of a kind, of which each group of so many is of one subject, or all differ. */
static void
measure_strangers(const char *name, Drawing draw, int count, int group)
{
	long long whole[PICTURE_HASH_BITS + 1] = {0};
	long long guessed[PICTURE_HASH_BITS + 1] = {0};
	long long within[PICTURE_HASH_BITS + 1] = {0};
	int queries = count < QUERIES ? count : QUERIES;
	Hash *hashes = calloc((size_t) count, sizeof(Hash));
	Guesses *guesses = calloc((size_t) queries, sizeof(Guesses));
	char title[200];

	for (int i = 0; i < count; i++)
	{
		Canvas picture = draw((uint64_t) i);
		File file = write_jpeg(&picture, STORED_QUALITY, false);

		hashes[i] = hash_of(&file);
		if (i < queries)
			guesses[i] = guesses_of(&file);
		free(file.bytes);
		canvas_free(&picture);
	}
	for (int i = 0; i < count; i++)
		for (int j = 0; j < i; j++)
			(i / group == j / group
				 ? within
				 : whole)[picture_hash_distance(hashes[i].bits, hashes[j].bits)]++;
	for (int i = 0; i < queries; i++)
		for (int j = 0; j < count; j++)
			if (i / group != j / group)
				guessed[nearest(&hashes[j], &guesses[i])]++;
	snprintf(title, sizeof(title), "%s, hash to hash", name);
	print_histogram(title, whole);
	snprintf(title, sizeof(title), "%s, the least of %d guesses", name, guesses[0].count);
	print_histogram(title, guessed);
	if (group > 1)
	{
		snprintf(title, sizeof(title), "%s, the same subject taken again", name);
		print_histogram(title, within);
	}
	free(hashes);
	free(guesses);
}

/* What the fastest of several runs took, in ms: others use the machine, too. */
static void
measure_cost(const char *name, const File *file, int times)
{
	double best[3] = {1e9, 1e9, 1e9};

	for (int i = 0; i < times; i++)
	{
		PictureGrey decoded;
		Guesses guesses;
		Hash hash;
		double at[4];

		at[0] = seconds();
		if (!decode(file, &decoded))
			die("a picture cannot be decoded");
		at[1] = seconds();
		if (!picture_hash(&decoded, hash.bits))
			die("a picture has no hash");
		at[2] = seconds();
		guesses.count = picture_hash_guesses(&decoded, guesses.bits);
		at[3] = seconds();
		for (int k = 0; k < 3; k++)
			best[k] = at[k + 1] - at[k] < best[k] ? at[k + 1] - at[k] : best[k];
		picture_free(&decoded);
	}
	printf("| %s | %zu | %.2f | %.2f | %.1f |\n", name, file->length / 1000, best[0] * 1000,
		   best[1] * 1000, best[2] * 1000);
	fflush(stdout);
}

static void
measure_costs(const Canvas *real)
{
	static const struct
	{
		const char *name;
		int width, height, quality, times;
		bool progressive;
	} cases[] = {
		{"JPEG, 240 x 300", 240, 300, 86, 100, false},
		{"JPEG, 300 x 400", 300, 400, 90, 100, false},
		{"JPEG, 640 x 480", 640, 480, 93, 100, false},
		{"JPEG, 640 x 480, progressive", 640, 480, 93, 50, true},
		{"JPEG, 4000 x 3000", 4000, 3000, 85, 20, false},
		{"JPEG, 4000 x 3000, progressive", 4000, 3000, 85, 5, true},
		{"PNG, 640 x 480", 640, 480, 0, 20, false},
		{"PNG, 4000 x 3000", 4000, 3000, 0, 3, false},
	};

	printf(
		"\n| file | kB | decoding, ms | hashing, ms | all guesses, ms |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Canvas scaled = canvas_scale(real, cases[i].width, cases[i].height);
		File file;

		draw_noise(&scaled, 5, 12, 0.004);
		file = cases[i].quality > 0 ? write_jpeg(&scaled, cases[i].quality, cases[i].progressive)
									: write_png(&scaled);
		measure_cost(cases[i].name, &file, cases[i].times);
		free(file.bytes);
		canvas_free(&scaled);
	}
}

int
main(int argc, char **argv)
{
	static const char *const real[] = {"astronaut.jpg", "camera.png", "text.png", "retina.jpg",
									   "brick.jpg"};
	Canvas subjects[3 * SUBJECTS + 5];
	int count = 0;
	int strangers = argc > 2 ? atoi(argv[2]) : 1500;

	if (argc < 2)
		die("usage: measure IMAGES [NUMBER]");
	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++)
	{
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", argv[1], real[i]);
		subjects[count++] = read_picture(path);
	}
	measure_costs(&subjects[0]);
	printf("\nThe %d real pictures of test/images:\n", count);
	measure_changes(subjects, count);
	for (uint64_t i = 0; i < SUBJECTS; i++)
	{
		subjects[count++] = draw_face(100000 + i, 1);
		subjects[count++] = draw_lane(100000 + i, 1);
		subjects[count++] = draw_texture(100000 + i);
	}
	printf("\nThese and %d invented faces, lanes and textures:\n", 3 * SUBJECTS);
	measure_changes(subjects, count);
	printf("\n| pictures | pairs | least | median | <= 40 | <= 44 | <= 48 | <= 52 | "
		   "<= 56 | <= 60 | <= 64 | <= 72 |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
	measure_strangers("textures", draw_texture, strangers, 1);
	measure_strangers("faces of different people", some_face, strangers, 1);
	measure_strangers("ten shots each of people", same_person, strangers / 5, 10);
	measure_strangers("one lane, different cars", some_lane, strangers / 5, 1);
	for (int i = 0; i < count; i++)
		canvas_free(&subjects[i]);
	return 0;
}
