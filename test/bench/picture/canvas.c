/*
 * canvas.c - what is done to pictures on their way into other hands.
 */
#include "canvas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
die(const char *what)
{
	fprintf(stderr, "measure: %s\n", what);
	exit(1);
}

double
random_even(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (double) ((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

double
random_normal(uint64_t *state)
{
	double u = random_even(state) + 1e-12;

	return sqrt(-2 * log(u)) * cos(2 * M_PI * random_even(state));
}

Canvas
canvas_make(int width, int height)
{
	Canvas made = {width, height, calloc((size_t) width * height, 3)};

	if (made.rgb == NULL)
		die("out of memory");
	return made;
}

void
canvas_free(Canvas *canvas)
{
	free(canvas->rgb);
	canvas->rgb = NULL;
}

static uint8_t
to_byte(double value)
{
	return (uint8_t) (value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
}

void
canvas_set(Canvas *canvas, int x, int y, double red, double green, double blue)
{
	uint8_t *pixel = canvas->rgb + 3 * ((size_t) y * canvas->width + x);

	pixel[0] = to_byte(red);
	pixel[1] = to_byte(green);
	pixel[2] = to_byte(blue);
}

/* A channel between pixels, bilinear; black outside. */
static double
sample(const Canvas *canvas, double x, double y, int channel)
{
	int x0 = (int) floor(x);
	int y0 = (int) floor(y);
	double sum = 0;

	for (int dy = 0; dy < 2; dy++)
		for (int dx = 0; dx < 2; dx++)
		{
			int xi = x0 + dx;
			int yi = y0 + dy;
			double weight = (dx ? x - x0 : 1 - x + x0) * (dy ? y - y0 : 1 - y + y0);

			if (xi >= 0 && yi >= 0 && xi < canvas->width && yi < canvas->height)
				sum += weight * canvas->rgb[3 * ((size_t) yi * canvas->width + xi) + channel];
		}
	return sum;
}

/* Weights as box filters have them when they shrink, and as bilinear when they enlarge. */
static double
scaled(const Canvas *canvas, double x, double y, double stepx, double stepy, int channel)
{
	int nx = stepx > 1 ? (int) ceil(stepx) : 1;
	int ny = stepy > 1 ? (int) ceil(stepy) : 1;
	double sum = 0;

	for (int j = 0; j < ny; j++)
		for (int i = 0; i < nx; i++)
		{
			double sx = (x + (i + 0.5) / nx) * stepx - 0.5;
			double sy = (y + (j + 0.5) / ny) * stepy - 0.5;

			sx = fmin(fmax(sx, 0), canvas->width - 1);
			sy = fmin(fmax(sy, 0), canvas->height - 1);
			sum += sample(canvas, sx, sy, channel);
		}
	return sum / (nx * ny);
}

Canvas
canvas_scale(const Canvas *canvas, int width, int height)
{
	Canvas made = canvas_make(width, height);
	double stepx = (double) canvas->width / width;
	double stepy = (double) canvas->height / height;

	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++)
			canvas_set(&made, x, y, scaled(canvas, x, y, stepx, stepy, 0),
					   scaled(canvas, x, y, stepx, stepy, 1),
					   scaled(canvas, x, y, stepx, stepy, 2));
	return made;
}

Canvas
canvas_crop(const Canvas *canvas, double left, double right, double top, double bottom)
{
	int x0 = (int) lround(left * canvas->width);
	int x1 = canvas->width - (int) lround(right * canvas->width);
	int y0 = (int) lround(top * canvas->height);
	int y1 = canvas->height - (int) lround(bottom * canvas->height);
	Canvas made = canvas_make(x1 - x0, y1 - y0);

	for (int y = y0; y < y1; y++)
		memcpy(made.rgb + 3 * (size_t) (y - y0) * made.width,
			   canvas->rgb + 3 * ((size_t) y * canvas->width + x0), 3 * (size_t) made.width);
	return made;
}

Canvas
canvas_rotate(const Canvas *canvas, double degrees)
{
	Canvas made = canvas_make(canvas->width, canvas->height);
	double c = cos(degrees * M_PI / 180);
	double s = sin(degrees * M_PI / 180);
	double mx = (canvas->width - 1) / 2.0;
	double my = (canvas->height - 1) / 2.0;

	for (int y = 0; y < made.height; y++)
		for (int x = 0; x < made.width; x++)
		{
			double sx = c * (x - mx) - s * (y - my) + mx;
			double sy = s * (x - mx) + c * (y - my) + my;

			canvas_set(&made, x, y, sample(canvas, sx, sy, 0), sample(canvas, sx, sy, 1),
					   sample(canvas, sx, sy, 2));
		}
	return made;
}

Canvas
canvas_turn(const Canvas *canvas, bool transpose, bool mirror)
{
	Canvas made = canvas_make(transpose ? canvas->height : canvas->width,
							  transpose ? canvas->width : canvas->height);

	for (int y = 0; y < made.height; y++)
		for (int x = 0; x < made.width; x++)
		{
			int from_x = transpose ? y : x;
			int from_y = transpose ? x : y;

			if (mirror)
				from_x = canvas->width - 1 - from_x;
			memcpy(made.rgb + 3 * ((size_t) y * made.width + x),
				   canvas->rgb + 3 * ((size_t) from_y * canvas->width + from_x), 3);
		}
	return made;
}

Canvas
canvas_level(const Canvas *canvas, double gain, double offset, double gamma)
{
	Canvas made = canvas_make(canvas->width, canvas->height);

	for (size_t i = 0; i < 3 * (size_t) made.width * made.height; i++)
	{
		double value = 255 * pow(canvas->rgb[i] / 255.0, gamma);

		made.rgb[i] = to_byte((value - 128) * gain + 128 + offset);
	}
	return made;
}

Canvas
canvas_grey(const Canvas *canvas)
{
	Canvas made = canvas_make(canvas->width, canvas->height);

	for (size_t i = 0; i < (size_t) made.width * made.height; i++)
	{
		const uint8_t *p = canvas->rgb + 3 * i;

		memset(made.rgb + 3 * i, to_byte(0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]), 3);
	}
	return made;
}

/* A caption: a band across the lower part, a share of the height, of letter-like bars on white. */
Canvas
canvas_caption(const Canvas *canvas, double share)
{
	Canvas made = canvas_crop(canvas, 0, 0, 0, 0);
	int size = (int) (share * made.height);
	int top = (int) (made.height * 0.95) - size;
	int left = made.width / 20;

	for (int y = top; y < top + size; y++)
		for (int x = left; x < made.width - left; x++)
		{
			int letter = (x - left) * 3 / (size > 0 ? size : 1);
			bool inside = y > top + size / 4 && y < top + 3 * size / 4 && letter % 5 != 4 &&
						  (letter * 7 + (y - top) * 4 / size) % 3 != 0;

			canvas_set(&made, x, y, inside ? 10 : 250, inside ? 10 : 250, inside ? 10 : 250);
		}
	return made;
}
