/*
 * test_picture.c - decoding of JPEG and PNG files that the libraries' writers make, and
 * of what becomes of them when somebody means harm.
 */
#include "picture/picture.h"
#include "tap.h"

#include <time.h>

#include <jpeglib.h>
#include <png.h>

#define MOST_WIDTH 601
#define MANY 1000000

typedef struct File
{
	uint8_t *bytes;
	size_t length;
} File;

/* How a JPEG file is to be written. */
typedef struct JpegForm
{
	const char *name;
	J_COLOR_SPACE given;
	J_COLOR_SPACE stored;
	bool progressive;
	int tolerance; /* luminances that a pixel's mean may be off */
} JpegForm;

/* How a PNG file is to be written. */
typedef struct PngForm
{
	const char *name;
	int depth;
	int colour_type;
	bool interlaced;
	int tolerance;
} PngForm;

/* Of the pictures that are written: one side is brought down, the other stays as it is. */
static uint32_t width = MOST_WIDTH;
static uint32_t height = 500;

static const PictureLimits unlimited = {.pixels = 1000000000, .time_ms = 60000};

/* The luminance that pictures in this file have: soft, and another one everywhere. */
static uint8_t
shade(uint32_t x, uint32_t y)
{
	return (uint8_t) (40 + (x * 90 / width + y * 70 / height) % 200);
}

static File
write_jpeg(const JpegForm *form, const jpeg_scan_info *scans, int scan_count)
{
	struct jpeg_compress_struct file;
	struct jpeg_error_mgr errors;
	uint8_t row[4 * MOST_WIDTH];
	unsigned long length = 0;
	File made = {0};

	file.err = jpeg_std_error(&errors);
	jpeg_create_compress(&file);
	jpeg_mem_dest(&file, &made.bytes, &length);
	file.image_width = width;
	file.image_height = height;
	file.in_color_space = form->given;
	file.input_components = form->given == JCS_GRAYSCALE ? 1 : form->given == JCS_CMYK ? 4 : 3;
	jpeg_set_defaults(&file);
	jpeg_set_colorspace(&file, form->stored);
	jpeg_set_quality(&file, 95, TRUE);
	if (form->progressive)
		jpeg_simple_progression(&file);
	if (scans != NULL)
	{
		file.scan_info = scans;
		file.num_scans = scan_count;
	}
	jpeg_start_compress(&file, TRUE);
	while (file.next_scanline < height)
	{
		JSAMPROW rows = row;

		for (uint32_t x = 0; x < width; x++)
		{
			uint8_t *pixel = row + (size_t) x * file.input_components;

			memset(pixel, shade(x, file.next_scanline), (size_t) file.input_components);
			if (form->given == JCS_CMYK)
				pixel[3] = 255; /* inverted, as Adobe's: no black */
		}
		(void) jpeg_write_scanlines(&file, &rows, 1);
	}
	jpeg_finish_compress(&file);
	jpeg_destroy_compress(&file);
	made.length = length;
	return made;
}

static void
append(png_structp file, png_bytep bytes, size_t length)
{
	File *made = png_get_io_ptr(file);

	made->bytes = realloc(made->bytes, made->length + length);
	memcpy(made->bytes + made->length, bytes, length);
	made->length += length;
}

/* Fills a row in a form's encoding. Palettes are of greys, each index its own. */
static void
fill_row(const PngForm *form, uint32_t y, uint8_t *row)
{
	int channels = form->colour_type == PNG_COLOR_TYPE_RGB			? 3
				   : form->colour_type == PNG_COLOR_TYPE_RGB_ALPHA	? 4
				   : form->colour_type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
																	: 1;

	memset(row, 0, 8 * MOST_WIDTH);
	for (uint32_t x = 0; x < width; x++)
	{
		uint8_t value = shade(x, y);

		if (form->depth < 8)
		{
			uint32_t bit = x * (uint32_t) form->depth;

			row[bit / 8] |=
				(uint8_t) (value >> (8 - form->depth) << (8 - form->depth - (int) (bit % 8)));
		}
		for (int c = 0; form->depth >= 8 && c < channels; c++)
		{
			uint8_t part = channels % 2 == 0 && c == channels - 1 ? 255 : value;
			size_t at = ((size_t) x * (size_t) channels + (size_t) c) * (size_t) form->depth / 8;

			row[at] = part;
			if (form->depth == 16)
				row[at + 1] = part;
		}
	}
}

static void
write_rows(png_structp file, const PngForm *form)
{
	uint8_t row[8 * MOST_WIDTH];
	int passes = png_set_interlace_handling(file);

	for (int pass = 0; pass < passes; pass++)
		for (uint32_t y = 0; y < height; y++)
		{
			fill_row(form, y, row);
			png_write_row(file, row);
		}
}

/* text: of a compressed text chunk, or NULL. */
static File
write_png(const PngForm *form, char *text)
{
	File made = {0};
	png_structp file = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(file);
	png_text comment = {.compression = PNG_TEXT_COMPRESSION_zTXt, .key = "Comment", .text = text};
	png_color palette[256];

	png_set_write_fn(file, &made, append, NULL);
	png_set_IHDR(file, info, width, height, form->depth, form->colour_type,
				 form->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
				 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	for (int i = 0; i < 256; i++)
		palette[i] = (png_color){(png_byte) i, (png_byte) i, (png_byte) i};
	if (form->colour_type == PNG_COLOR_TYPE_PALETTE)
		png_set_PLTE(file, info, palette, 256);
	if (text != NULL)
		png_set_text(file, info, &comment, 1);
	png_write_info(file, info);
	write_rows(file, form);
	png_write_end(file, info);
	png_destroy_write_struct(&file, &info);
	return made;
}

static bool
decode(ImageFormat format, const File *file, const PictureLimits *limits, PictureGrey *grey)
{
	uint8_t *copy = tap_copy(file->bytes, file->length);
	bool done = picture_decode(format, copy, file->length, limits, grey);

	free(copy);
	return done;
}

/* Tells whether a result is what shade() says, as near as a tolerance. */
static bool
looks_right(const PictureGrey *grey, int tolerance)
{
	for (uint32_t y = 1; y + 1 < grey->height; y++)
		for (uint32_t x = 1; x + 1 < grey->width; x++)
			if (abs(grey->pixels[y * grey->width + x] -
					shade(x * width / grey->width, y * height / grey->height)) > tolerance)
				return false;
	return true;
}

/* The size that a picture is to have when it has been decoded. */
static bool
sized_right(ImageFormat format, const PictureGrey *grey)
{
	if (format == IMAGE_FORMAT_PNG)
		return grey->width == PICTURE_SIDE && grey->height == height;
	return grey->width == (width + 1) / 2 && grey->height == height / 2;
}

static bool
decodes(ImageFormat format, const File *file, int tolerance)
{
	PictureGrey grey;
	bool right;

	if (!decode(format, file, &unlimited, &grey))
		return false;
	right = sized_right(format, &grey) && looks_right(&grey, tolerance);
	picture_free(&grey);
	return right && grey.pixels == NULL;
}

static void
check_jpeg_forms(void)
{
	static const JpegForm forms[] = {
		{"grey", JCS_GRAYSCALE, JCS_GRAYSCALE, false, 3}, {"YCbCr", JCS_RGB, JCS_YCbCr, false, 3},
		{"progressive", JCS_RGB, JCS_YCbCr, true, 3},	  {"RGB", JCS_RGB, JCS_RGB, false, 3},
		{"CMYK", JCS_CMYK, JCS_CMYK, false, 3},			  {"YCCK", JCS_CMYK, JCS_YCCK, false, 3},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		File file = write_jpeg(&forms[i], NULL, 0);

		tap_ok(decodes(IMAGE_FORMAT_JPEG, &file, forms[i].tolerance), "JPEG, %s", forms[i].name);
		free(file.bytes);
	}
}

static void
check_png_forms(void)
{
	static const PngForm forms[] = {
		{"grey of 1 bit", 1, PNG_COLOR_TYPE_GRAY, false, 255},
		{"grey of 2 bits", 2, PNG_COLOR_TYPE_GRAY, false, 64},
		{"grey of 4 bits", 4, PNG_COLOR_TYPE_GRAY, false, 16},
		{"grey", 8, PNG_COLOR_TYPE_GRAY, false, 2},
		{"grey of 16 bits", 16, PNG_COLOR_TYPE_GRAY, false, 2},
		{"grey with alpha", 8, PNG_COLOR_TYPE_GRAY_ALPHA, false, 2},
		{"palette", 8, PNG_COLOR_TYPE_PALETTE, false, 2},
		{"colour", 8, PNG_COLOR_TYPE_RGB, false, 2},
		{"colour of 16 bits", 16, PNG_COLOR_TYPE_RGB, false, 2},
		{"colour with alpha", 8, PNG_COLOR_TYPE_RGB_ALPHA, false, 2},
		{"colour with alpha of 16 bits", 16, PNG_COLOR_TYPE_RGB_ALPHA, false, 2},
		{"grey, interlaced", 8, PNG_COLOR_TYPE_GRAY, true, 2},
		{"grey of 4 bits, interlaced", 4, PNG_COLOR_TYPE_GRAY, true, 16},
		{"colour of 16 bits with alpha, interlaced", 16, PNG_COLOR_TYPE_RGB_ALPHA, true, 2},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		File file = write_png(&forms[i], NULL);

		tap_ok(decodes(IMAGE_FORMAT_PNG, &file, forms[i].tolerance), "PNG, %s", forms[i].name);
		free(file.bytes);
	}
}

static void
check_interlaced_is_the_same(const char *name)
{
	static const PngForm plain = {"", 8, PNG_COLOR_TYPE_RGB, false, 0};
	static const PngForm interlaced = {"", 8, PNG_COLOR_TYPE_RGB, true, 0};
	File one = write_png(&plain, NULL);
	File other = write_png(&interlaced, NULL);
	PictureGrey a;
	PictureGrey b;

	tap_ok(decode(IMAGE_FORMAT_PNG, &one, &unlimited, &a) &&
			   decode(IMAGE_FORMAT_PNG, &other, &unlimited, &b) && a.width == b.width &&
			   a.height == b.height && memcmp(a.pixels, b.pixels, (size_t) a.width * a.height) == 0,
		   "%s: an interlaced file has the very picture of the plain one", name);
	picture_free(&a);
	picture_free(&b);
	free(one.bytes);
	free(other.bytes);
}

/* What is there before transparent pixels is not seen. */
static void
check_transparency(void)
{
	uint8_t rgba[64 * 64 * 4] = {0};
	png_image image = {
		.version = PNG_IMAGE_VERSION, .width = 64, .height = 64, .format = PNG_FORMAT_RGBA};
	png_alloc_size_t length = PNG_IMAGE_PNG_SIZE_MAX(image);
	File file = {malloc(length), 0};
	PictureGrey grey;
	bool white = true;

	if (!png_image_write_to_memory(&image, file.bytes, &length, 0, rgba, 0, NULL))
		abort();
	file.length = length;
	if (tap_ok(decode(IMAGE_FORMAT_PNG, &file, &unlimited, &grey) && grey.width == 64,
			   "a small picture stays as large as it is"))
		for (int i = 0; i < 64 * 64; i++)
			white = white && grey.pixels[i] == 255;
	tap_ok(white, "a transparent black is white");
	picture_free(&grey);
	free(file.bytes);
}

static bool
stop_at(void *context)
{
	int *left = context;

	return (*left)-- <= 0;
}

static void
check_limits(ImageFormat format, const File *file, const char *name)
{
	PictureLimits too_small = {.pixels = width * height - 1, .time_ms = 60000};
	PictureLimits just_right = {.pixels = width * height, .time_ms = 60000};
	int left = 5;
	PictureLimits stopped = {.pixels = MANY, .time_ms = 60000, .stop = stop_at, .context = &left};
	PictureGrey grey;

	tap_ok(!decode(format, file, &too_small, &grey) && grey.pixels == NULL && grey.width == 0,
		   "%s: a picture of more pixels than allowed is not decoded", name);
	tap_ok(decode(format, file, &just_right, &grey), "%s: one of as many is", name);
	picture_free(&grey);
	tap_ok(!decode(format, file, &stopped, &grey) && grey.pixels == NULL && left < 0,
		   "%s: decoding stops on the way when it is told to", name);
	tap_ok(!decode(format == IMAGE_FORMAT_PNG ? IMAGE_FORMAT_JPEG : IMAGE_FORMAT_PNG, file,
				   &unlimited, &grey),
		   "%s: it is not decoded as another format", name);
	tap_ok(!decode(IMAGE_FORMAT_WSQ, file, &unlimited, &grey) &&
			   !decode(IMAGE_FORMAT_NONE, file, &unlimited, &grey),
		   "%s: nor as one that has no decoder", name);
}

/* Time passes while it is asked whether to stop. */
static bool
take_time(void *context)
{
	const struct timespec pause = {.tv_nsec = 3000000};

	(void) context;
	nanosleep(&pause, NULL);
	return false;
}

static void
check_time(ImageFormat format, const File *file, const char *name)
{
	PictureLimits slow = {.pixels = MANY, .time_ms = 1, .stop = take_time};
	PictureGrey grey;

	tap_ok(!decode(format, file, &slow, &grey), "%s: decoding ends when its time is up", name);
}

static void
check_damage(ImageFormat format, const File *file, const char *name)
{
	PictureGrey grey;
	long cut = 0;
	long decoded = 0;

	for (size_t length = 0; length < file->length; length += 1 + file->length / 200)
	{
		File part = {file->bytes, length};

		if (decode(format, &part, &unlimited, &grey))
			cut++;
		picture_free(&grey);
	}
	tap_ok(cut <= 2, "%s: a file that was cut off has no picture", name);
	for (int i = 0; i < 300; i++)
	{
		File changed = {tap_copy(file->bytes, file->length), file->length};

		for (int k = 0; k < 1 + i % 4; k++)
			changed.bytes[tap_random() % (i % 2 ? 200 : file->length)] = (uint8_t) tap_random();
		decoded += decode(format, &changed, &unlimited, &grey);
		picture_free(&grey);
		free(changed.bytes);
	}
	tap_ok(decoded < 300, "%s: damage is survived, %ld of 300 still decoded", name, decoded);
}

/* As many scans as an attacker likes: the bits of each coefficient one by one. */
static void
check_scans(void)
{
	static const JpegForm form = {"", JCS_GRAYSCALE, JCS_GRAYSCALE, false, 0};
	jpeg_scan_info scans[128] = {{1, {0}, 0, 0, 0, 1}, {1, {0}, 0, 0, 1, 0}};
	File few;
	File many;

	for (int k = 1; k < 64; k++)
	{
		scans[2 * k] = (jpeg_scan_info){1, {0}, k, k, 0, 1};
		scans[2 * k + 1] = (jpeg_scan_info){1, {0}, k, k, 1, 0};
	}
	few = write_jpeg(&form, scans, 60);
	many = write_jpeg(&form, scans, 128);
	tap_ok(decodes(IMAGE_FORMAT_JPEG, &few, 40), "a JPEG file of 60 scans is decoded");
	tap_ok(!decodes(IMAGE_FORMAT_JPEG, &many, 255), "one of 128 scans is not");
	free(few.bytes);
	free(many.bytes);
}

/* A progressive file whose header says that it is large: its coefficients are not kept. */
static void
check_memory(void)
{
	static const JpegForm form = {"", JCS_RGB, JCS_YCbCr, true, 0};
	File file = write_jpeg(&form, NULL, 0);
	PictureGrey grey;
	size_t at = 0;

	while (at + 9 < file.length && !(file.bytes[at] == 0xff && file.bytes[at + 1] == 0xc2))
		at++;
	memset(file.bytes + at + 5, 0x60, 4);
	tap_ok(!decode(IMAGE_FORMAT_JPEG, &file, &unlimited, &grey),
		   "a progressive file of 24672 x 24672 pixels is not decoded");
	free(file.bytes);
}

static void
check_text_bomb(void)
{
	static const PngForm form = {"", 8, PNG_COLOR_TYPE_GRAY, false, 2};
	char *text = malloc(20 * MANY + 1);
	File file;

	memset(text, 'a', 20 * MANY);
	text[20 * MANY] = '\0';
	file = write_png(&form, text);
	tap_ok(file.length < MANY && decodes(IMAGE_FORMAT_PNG, &file, form.tolerance),
		   "a text of 20 MB in a PNG file is passed over");
	free(file.bytes);
	free(text);
}

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#include <malloc.h>

/* Blocks up to this size are libjpeg's own: it made them before it knew of a file. */
#define LARGE_BLOCK 4096
#define FEW_BYTES 64

extern void __libc_free(void *memory);
static bool watching = false;
static int freed_large = 0;
static int freed_with_content = 0;

/* Takes the place of the C library's, for libjpeg and libpng, too. */
__attribute__((visibility("default"))) void
free(void *memory)
{
	size_t size = watching && memory != NULL ? malloc_usable_size(memory) : 0;

	if (size > LARGE_BLOCK)
	{
		const volatile uint8_t *bytes = memory;
		size_t set = 0;

		for (size_t i = 0; i < size; i++)
			set += bytes[i] != 0;
		freed_large++;
		freed_with_content += set > FEW_BYTES;
	}
	__libc_free(memory);
}

static void
check_wiped(ImageFormat format, const File *file, const char *name)
{
	PictureGrey grey;
	bool decoded;

	freed_large = freed_with_content = 0;
	watching = true;
	decoded = picture_decode(format, file->bytes, file->length, &unlimited, &grey);
	watching = false;
	tap_ok(decoded && freed_large > 0, "%s: what decoding frees is looked at", name);
	tap_ok(freed_with_content == 0, "%s: and holds nothing any more", name);
	picture_free(&grey);
}

static void
check_all_wiped(const File *jpeg, const File *png)
{
	static const JpegForm form = {"", JCS_RGB, JCS_YCbCr, true, 3};
	File progressive = write_jpeg(&form, NULL, 0);

	check_wiped(IMAGE_FORMAT_JPEG, jpeg, "JPEG");
	check_wiped(IMAGE_FORMAT_JPEG, &progressive, "progressive JPEG");
	check_wiped(IMAGE_FORMAT_PNG, png, "PNG");
	free(progressive.bytes);
}
#else
static void
check_all_wiped(const File *jpeg, const File *png)
{
	/* the sanitizer has a free() of its own */
	(void) jpeg;
	(void) png;
}
#endif

int
main(void)
{
	static const JpegForm jpeg_form = {"", JCS_RGB, JCS_YCbCr, true, 0};
	static const PngForm png_form = {"", 8, PNG_COLOR_TYPE_RGB, true, 0};
	File jpeg = write_jpeg(&jpeg_form, NULL, 0);
	File png = write_png(&png_form, NULL);

	check_jpeg_forms();
	check_png_forms();
	check_interlaced_is_the_same("brought down");
	check_transparency();
	check_limits(IMAGE_FORMAT_JPEG, &jpeg, "JPEG");
	check_limits(IMAGE_FORMAT_PNG, &png, "PNG");
	check_time(IMAGE_FORMAT_JPEG, &jpeg, "JPEG");
	check_time(IMAGE_FORMAT_PNG, &png, "PNG");
	check_damage(IMAGE_FORMAT_JPEG, &jpeg, "JPEG");
	check_damage(IMAGE_FORMAT_PNG, &png, "PNG");
	check_scans();
	check_memory();
	check_text_bomb();
	check_all_wiped(&jpeg, &png);
	free(jpeg.bytes);
	free(png.bytes);
	width = 151;
	height = 97;
	check_interlaced_is_the_same("as it is");
	return tap_done();
}
