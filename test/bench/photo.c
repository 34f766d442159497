/*
 * photo.c - pictures to enrol that can be decoded, as cameras make them: smooth surfaces,
 * finer structure, noise.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#define WIDTH 640
#define HEIGHT 480
#define CHANNELS 3

/* Values between the corners of a grid with so many steps to the picture's width. */
typedef struct Octave
{
	int steps;
	int height; /* of 255 */
} Octave;

static const Octave octaves[] = {{5, 150}, {20, 60}, {80, 24}};

typedef struct Grid
{
	int across;
	int size; /* pixels of a step */
	int values[(WIDTH / 8 + 2) * (HEIGHT / 8 + 2)];
} Grid;

static void
grid_fill(Grid *grid, const Octave *octave, uint64_t *state)
{
	grid->size = WIDTH / octave->steps;
	grid->across = octave->steps + 1;
	for (int i = 0; i < grid->across * (HEIGHT / grid->size + 2); i++)
		grid->values[i] = (int) (random_next(state) >> 33) % octave->height - octave->height / 2;
}

static int
grid_value(const Grid *grid, int x, int y)
{
	const int *corner = grid->values + y / grid->size * grid->across + x / grid->size;
	int right = x % grid->size;
	int down = y % grid->size;
	int left = grid->size - right;

	return ((corner[0] * left + corner[1] * right) * (grid->size - down) +
			(corner[grid->across] * left + corner[grid->across + 1] * right) * down) /
		   (grid->size * grid->size);
}

static void
draw(uint8_t *pixels, uint64_t seed)
{
	uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
	static Grid grids[CHANNELS];
	static int sums[WIDTH * HEIGHT * CHANNELS];

	memset(sums, 0, sizeof(sums));
	for (size_t o = 0; o < sizeof(octaves) / sizeof(octaves[0]); o++)
		for (int c = 0; c < CHANNELS; c++)
		{
			grid_fill(&grids[c], &octaves[o], &state);
			for (int i = 0; i < WIDTH * HEIGHT; i++)
				sums[i * CHANNELS + c] += grid_value(&grids[c], i % WIDTH, i / WIDTH);
		}
	for (int i = 0; i < WIDTH * HEIGHT * CHANNELS; i++)
	{
		int value = 128 + sums[i] + (int) (random_next(&state) >> 33) % 13 - 6;

		pixels[i] = (uint8_t) (value < 0 ? 0 : value > 255 ? 255 : value);
	}
}

/* Encodes with a comment of so many bytes; returns the file, for free(). */
static uint8_t *
encode(const uint8_t *pixels, int quality, size_t comment, size_t *size)
{
	static const uint8_t nothing[65536];
	struct jpeg_compress_struct file;
	struct jpeg_error_mgr errors;
	unsigned char *bytes = NULL;
	unsigned long length = 0;

	file.err = jpeg_std_error(&errors);
	jpeg_create_compress(&file);
	jpeg_mem_dest(&file, &bytes, &length);
	file.image_width = WIDTH;
	file.image_height = HEIGHT;
	file.input_components = CHANNELS;
	file.in_color_space = JCS_RGB;
	jpeg_set_defaults(&file);
	jpeg_set_quality(&file, quality, TRUE);
	jpeg_start_compress(&file, TRUE);
	if (comment > 0)
		jpeg_write_marker(&file, JPEG_COM, nothing, (unsigned int) comment);
	while (file.next_scanline < HEIGHT)
	{
		JSAMPROW row = (JSAMPROW) (pixels + (size_t) file.next_scanline * WIDTH * CHANNELS);

		(void) jpeg_write_scanlines(&file, &row, 1);
	}
	jpeg_finish_compress(&file);
	jpeg_destroy_compress(&file);
	*size = length;
	return bytes;
}

void
photo_make(uint8_t *bytes, size_t size, uint64_t seed)
{
	static uint8_t pixels[WIDTH * HEIGHT * CHANNELS];
	const size_t marker = 4; /* what a comment takes besides its bytes */
	size_t length = 0;
	uint8_t *file = NULL;
	int quality = 96;

	draw(pixels, seed);
	/* the best quality that fits, and the rest a comment */
	do
	{
		free(file);
		file = encode(pixels, --quality, 0, &length);
	} while (quality > 1 && length + marker >= size);
	free(file);
	if (length + marker >= size || size - length - marker > 65533)
		die("no JPEG picture of %zu bytes can be made", size);
	file = encode(pixels, quality, size - length - marker, &length);
	if (length != size)
		die("a JPEG picture of %zu bytes has %zu", size, length);
	memcpy(bytes, file, size);
	free(file);
}
