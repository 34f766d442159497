/*
 * codec.c - files out of pictures and pictures out of files, by the libraries' own
 * means and not by ours.
 */
#include "canvas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

File
write_jpeg(const Canvas *canvas, int quality, bool progressive)
{
	struct jpeg_compress_struct file;
	struct jpeg_error_mgr errors;
	unsigned long length = 0;
	File made = {0};

	file.err = jpeg_std_error(&errors);
	jpeg_create_compress(&file);
	jpeg_mem_dest(&file, &made.bytes, &length);
	file.image_width = (JDIMENSION) canvas->width;
	file.image_height = (JDIMENSION) canvas->height;
	file.input_components = 3;
	file.in_color_space = JCS_RGB;
	jpeg_set_defaults(&file);
	jpeg_set_quality(&file, quality, TRUE);
	if (progressive)
		jpeg_simple_progression(&file);
	jpeg_start_compress(&file, TRUE);
	while (file.next_scanline < file.image_height)
	{
		JSAMPROW row = canvas->rgb + 3 * (size_t) file.next_scanline * canvas->width;

		(void) jpeg_write_scanlines(&file, &row, 1);
	}
	jpeg_finish_compress(&file);
	jpeg_destroy_compress(&file);
	made.length = length;
	return made;
}

File
write_png(const Canvas *canvas)
{
	png_image image = {.version = PNG_IMAGE_VERSION,
					   .width = (png_uint_32) canvas->width,
					   .height = (png_uint_32) canvas->height,
					   .format = PNG_FORMAT_RGB};
	png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
	File made = {.bytes = malloc(size)};

	if (made.bytes == NULL ||
		!png_image_write_to_memory(&image, made.bytes, &size, 0, canvas->rgb, 0, NULL))
		die("could not write a PNG file");
	made.length = size;
	return made;
}

static Canvas
read_jpeg(FILE *in)
{
	struct jpeg_decompress_struct file;
	struct jpeg_error_mgr errors;
	Canvas made;

	file.err = jpeg_std_error(&errors);
	jpeg_create_decompress(&file);
	jpeg_stdio_src(&file, in);
	jpeg_read_header(&file, TRUE);
	file.out_color_space = JCS_RGB;
	jpeg_start_decompress(&file);
	made = canvas_make((int) file.output_width, (int) file.output_height);
	while (file.output_scanline < file.output_height)
	{
		JSAMPROW row = made.rgb + 3 * (size_t) file.output_scanline * made.width;

		(void) jpeg_read_scanlines(&file, &row, 1);
	}
	jpeg_destroy_decompress(&file);
	return made;
}

static Canvas
read_png(FILE *in)
{
	png_image image = {.version = PNG_IMAGE_VERSION};
	Canvas made;

	if (!png_image_begin_read_from_stdio(&image, in))
		die("could not read a PNG file");
	image.format = PNG_FORMAT_RGB;
	made = canvas_make((int) image.width, (int) image.height);
	if (!png_image_finish_read(&image, NULL, made.rgb, 0, NULL))
		die("could not read a PNG file");
	return made;
}

Canvas
read_picture(const char *path)
{
	FILE *in = fopen(path, "rb");
	Canvas made;

	if (in == NULL)
		die(path);
	made = strstr(path, ".png") != NULL ? read_png(in) : read_jpeg(in);
	fclose(in);
	return made;
}
