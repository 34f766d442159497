/*
 * jpeg.c - JPEG files, by libjpeg-turbo.
 *
 * libjpeg reports errors by a function that must not return: ours jumps back to
 * where decoding began. What has to survive the jump is in JpegWork.
 */
#include "picture/sink.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "picture/jpeg_memory.h"

/* libjpeg decodes to 1/8, 2/8, ... of a file's dimensions; we take 1/8, 1/4, 1/2 or all. */
#define FULL_SCALE 8

typedef struct JpegWork
{
	struct jpeg_decompress_struct file;
	struct jpeg_error_mgr errors;
	struct jpeg_progress_mgr progress;
	JpegMemory memory;
	jmp_buf failed;
	PictureWatch *watch;
	PictureSink *sink;
	size_t row_size;
	uint8_t *row;
} JpegWork;

static JpegWork *
work_of(j_common_ptr file)
{
	return file->client_data;
}

static void
give_up(j_common_ptr file)
{
	longjmp(work_of(file)->failed, 1);
}

/*
 * Traces (level 0 and above) are nobody's business. A warning means that libjpeg
 * goes on with invented pixels, save where bytes between segments are passed over.
 */
static void
take_message(j_common_ptr file, int level)
{
	if (level < 0 && file->err->msg_code != JWRN_EXTRANEOUS_DATA &&
		file->err->msg_code != JWRN_ADOBE_XFORM)
		give_up(file);
}

static void
print_nothing(j_common_ptr file)
{
}

/* Called by libjpeg about once a row of blocks, in every scan. */
static void
look_at_watch(j_common_ptr file)
{
	const struct jpeg_decompress_struct *decompress = &work_of(file)->file;
	uint64_t rows = (uint64_t) DCTSIZE * (uint64_t) decompress->max_v_samp_factor;

	if (decompress->input_scan_number > PICTURE_SCANS ||
		picture_give_up(work_of(file)->watch, rows * decompress->image_width))
		give_up(file);
}

/*
 * The smallest scale at which the shorter side does not get shorter than what is asked for. Of
 * the eighths only those that libjpeg-turbo has vector code for: 5/8 takes longer than all.
 */
static unsigned int
choose_scale(const struct jpeg_decompress_struct *file)
{
	unsigned int shorter =
		file->image_width < file->image_height ? file->image_width : file->image_height;

	for (unsigned int scale = 1; scale < FULL_SCALE; scale *= 2)
		if (shorter * scale / FULL_SCALE >= PICTURE_LEAST_SIDE)
			return scale;
	return FULL_SCALE;
}

/* Has everything that has a luminance decoded to it, and CMYK as it is. */
static bool
choose_colours(struct jpeg_decompress_struct *file)
{
	switch (file->jpeg_color_space)
	{
		case JCS_GRAYSCALE:
		case JCS_YCbCr:
		case JCS_RGB:
			file->out_color_space = JCS_GRAYSCALE;
			return true;
		case JCS_CMYK:
		case JCS_YCCK:
			file->out_color_space = JCS_CMYK;
			return true;
		default:
			return false;
	}
}

/* Turns a row of CMYK into luminances, in place. Adobe's programs store it inverted. */
static void
flatten_cmyk(uint8_t *row, uint32_t width, bool inverted)
{
	uint8_t turn = inverted ? 0 : 0xff;

	for (uint32_t x = 0; x < width; x++)
	{
		uint32_t key = row[4 * x + 3] ^ turn;

		row[x] =
			picture_luminance((row[4 * x] ^ turn) * key / 255, (row[4 * x + 1] ^ turn) * key / 255,
							  (row[4 * x + 2] ^ turn) * key / 255);
	}
}

static void
read_rows(JpegWork *work)
{
	struct jpeg_decompress_struct *file = &work->file;
	JSAMPROW rows[1] = {work->row};

	while (file->output_scanline < file->output_height)
	{
		PictureRow row = {.y = file->output_scanline,
						  .step = 1,
						  .count = file->output_width,
						  .pixels = work->row};

		if (jpeg_read_scanlines(file, rows, 1) != 1)
			give_up((j_common_ptr) file);
		if (file->out_color_space == JCS_CMYK)
			flatten_cmyk(work->row, file->output_width, file->saw_Adobe_marker);
		picture_sink_add(work->sink, &row);
	}
}

/* Decodes; true when done. Jumps out when not, or returns false. */
static bool
read_file(JpegWork *work, const uint8_t *bytes, size_t length)
{
	struct jpeg_decompress_struct *file = &work->file;

	jpeg_create_decompress(file);
	file->client_data = work;
	file->progress = &work->progress;
	jpeg_memory_begin(&work->memory, file, PICTURE_MEMORY);
	jpeg_mem_src(file, bytes, length);
	if (jpeg_read_header(file, TRUE) != JPEG_HEADER_OK || !choose_colours(file) ||
		!picture_allowed(work->watch, file->image_width, file->image_height))
		return false;
	file->scale_num = choose_scale(file);
	file->scale_denom = FULL_SCALE;
	file->dct_method = JDCT_ISLOW;
	file->do_fancy_upsampling = FALSE;
	file->do_block_smoothing = FALSE;
	if (!jpeg_start_decompress(file))
		return false;
	work->row_size = (size_t) file->output_width * file->output_components;
	work->row = malloc(work->row_size);
	work->sink = picture_sink_begin(file->output_width, file->output_height);
	if (work->row == NULL || work->sink == NULL)
		return false;
	read_rows(work);
	return true;
}

/* Where errors jump to: nothing that changes after setjmp is kept in this function. */
static bool
try_file(JpegWork *work, const uint8_t *bytes, size_t length)
{
	return setjmp(work->failed) == 0 && read_file(work, bytes, length);
}

PictureSink *
picture_decode_jpeg(const uint8_t *bytes, size_t length, PictureWatch *watch)
{
	JpegWork work = {.watch = watch};
	PictureSink *sink = NULL;

	work.file.err = jpeg_std_error(&work.errors);
	work.file.client_data = &work;
	work.errors.error_exit = give_up;
	work.errors.emit_message = take_message;
	work.errors.output_message = print_nothing;
	work.progress.progress_monitor = look_at_watch;
	if (try_file(&work, bytes, length))
		sink = work.sink;
	else
		picture_sink_end(work.sink);
	jpeg_destroy_decompress(&work.file);
	if (work.row != NULL)
		core_wipe(work.row, work.row_size);
	free(work.row);
	return sink;
}
