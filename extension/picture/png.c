/*
 * png.c - PNG files, by libpng.
 *
 * libpng reports errors as libjpeg does, by jumping. What has to survive the jump
 * is in PngWork. Interlaced files are taken pass by pass: the sink does not mind
 * in which order pixels come, so that none of them is ever held whole.
 */
#include "picture/sink.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

/* Ancillary chunks that a file may have, and what one may grow to in memory, bytes. */
#define CHUNKS 1000
#define CHUNK_MEMORY (1024 * 1024)

/* The size of a block of libpng's, kept in front of it; as aligned as malloc's. */
#define BLOCK_HEAD 32

typedef struct PngWork
{
	png_structp file;
	png_infop info;
	PictureWatch *watch;
	PictureSink *sink;
	size_t row_size;
	uint8_t *row;
	const uint8_t *bytes; /* what is left of the file */
	size_t length;
} PngWork;

/* libpng's buffers hold pieces of the file, and of its pixels: wiped when it frees them. */
static png_voidp
take_block(png_structp file, png_alloc_size_t size)
{
	uint8_t *block = size <= SIZE_MAX - BLOCK_HEAD ? malloc(BLOCK_HEAD + size) : NULL;

	if (block == NULL)
		return NULL;
	memcpy(block, &size, sizeof(size));
	return block + BLOCK_HEAD;
}

static void
wipe_block(png_structp file, png_voidp given)
{
	uint8_t *block = given;
	png_alloc_size_t size;

	if (block == NULL)
		return;
	block -= BLOCK_HEAD;
	memcpy(&size, block, sizeof(size));
	core_wipe(block, BLOCK_HEAD + size);
	free(block);
}

static void
give_up(png_structp file, png_const_charp text)
{
	png_longjmp(file, 1);
}

static void
print_nothing(png_structp file, png_const_charp text)
{
}

static void
read_bytes(png_structp file, png_bytep out, size_t length)
{
	PngWork *work = png_get_io_ptr(file);

	if (length > work->length)
		give_up(file, NULL);
	memcpy(out, work->bytes, length);
	work->bytes += length;
	work->length -= length;
}

/* Says what not to read, and how the rest shall come: grey or RGB of 8 bits, perhaps with alpha. */
static void
choose_reading(PngWork *work)
{
	/* Chunks that can be long, are compressed, or only say how colours were meant. */
	static const uint8_t passed_over[] = "eXIf\0gAMA\0cHRM\0hIST\0iCCP\0iTXt\0pCAL\0sBIT\0sCAL\0"
										 "sPLT\0sRGB\0tEXt\0tIME\0zTXt";

	png_set_user_limits(work->file, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE);
	png_set_chunk_cache_max(work->file, CHUNKS);
	png_set_chunk_malloc_max(work->file, CHUNK_MEMORY);
	png_set_keep_unknown_chunks(work->file, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
	png_set_keep_unknown_chunks(work->file, PNG_HANDLE_CHUNK_NEVER, passed_over,
								(int) (sizeof(passed_over) / 5));
	png_set_read_fn(work->file, work, read_bytes);
	png_set_expand(work->file);
	png_set_scale_16(work->file);
}

/* Turns a row of 1 to 4 channels into luminances before white, in place. */
static void
flatten(uint8_t *row, uint32_t count, int channels)
{
	bool colour = channels >= 3;

	for (uint32_t i = 0; i < count; i++)
	{
		const uint8_t *pixel = row + (size_t) i * channels;
		uint32_t grey = colour ? picture_luminance(pixel[0], pixel[1], pixel[2]) : pixel[0];
		uint32_t alpha = channels % 2 == 0 ? pixel[channels - 1] : 255;

		row[i] = (uint8_t) ((grey * alpha + 255 * (255 - alpha) + 127) / 255);
	}
}

/* Reads the rows of one pass; a file that is not interlaced is pass 0 of step 1. */
static void
read_pass(PngWork *work, int pass, bool interlaced)
{
	uint32_t width = png_get_image_width(work->file, work->info);
	uint32_t height = png_get_image_height(work->file, work->info);
	int channels = png_get_channels(work->file, work->info);
	uint32_t rows = interlaced ? PNG_PASS_ROWS(height, pass) : height;
	PictureRow row = {
		.first = interlaced ? PNG_PASS_START_COL(pass) : 0,
		.step = interlaced ? PNG_PASS_COL_OFFSET(pass) : 1,
		.count = interlaced ? PNG_PASS_COLS(width, pass) : width,
		.pixels = work->row,
	};

	/* Passes without pixels are not in the file. */
	if (row.count == 0)
		return;
	for (uint32_t i = 0; i < rows; i++)
	{
		if (picture_give_up(work->watch, row.count))
			give_up(work->file, NULL);
		png_read_row(work->file, work->row, NULL);
		flatten(work->row, row.count, channels);
		row.y = interlaced ? PNG_ROW_FROM_PASS_ROW(i, pass) : i;
		picture_sink_add(work->sink, &row);
	}
}

/* Decodes; true when done. Jumps out when not, or returns false. */
static bool
read_file(PngWork *work)
{
	uint32_t width;
	uint32_t height;
	bool interlaced;

	choose_reading(work);
	png_read_info(work->file, work->info);
	width = png_get_image_width(work->file, work->info);
	height = png_get_image_height(work->file, work->info);
	interlaced = png_get_interlace_type(work->file, work->info) != PNG_INTERLACE_NONE;
	if (!picture_allowed(work->watch, width, height))
		return false;
	png_read_update_info(work->file, work->info);
	if (png_get_bit_depth(work->file, work->info) != 8)
		return false;
	work->row_size = png_get_rowbytes(work->file, work->info);
	work->row = malloc(work->row_size);
	work->sink = picture_sink_begin(width, height);
	if (work->row == NULL || work->sink == NULL)
		return false;
	for (int pass = 0; pass < (interlaced ? PNG_INTERLACE_ADAM7_PASSES : 1); pass++)
		read_pass(work, pass, interlaced);
	return true;
}

/* Where errors jump to: nothing that changes after setjmp is kept in this function. */
static bool
try_file(PngWork *work)
{
	return setjmp(png_jmpbuf(work->file)) == 0 && read_file(work);
}

PictureSink *
picture_decode_png(const uint8_t *bytes, size_t length, PictureWatch *watch)
{
	PngWork work = {.watch = watch, .bytes = bytes, .length = length};
	PictureSink *sink = NULL;

	work.file = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, give_up, print_nothing, NULL,
										 take_block, wipe_block);
	if (work.file == NULL)
		return NULL;
	work.info = png_create_info_struct(work.file);
	if (work.info != NULL && try_file(&work))
		sink = work.sink;
	else
		picture_sink_end(work.sink);
	png_destroy_read_struct(&work.file, &work.info, NULL);
	if (work.row != NULL)
		core_wipe(work.row, work.row_size);
	free(work.row);
	return sink;
}
