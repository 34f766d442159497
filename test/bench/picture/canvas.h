/*
 * canvas.h - pictures in colour, to be drawn, changed, and written as files.
 */
#ifndef BIOMETRIC_BENCH_CANVAS_H
#define BIOMETRIC_BENCH_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Canvas
{
	int width;
	int height;
	uint8_t *rgb; /* three bytes a pixel, rows from the top; freed by canvas_free */
} Canvas;

/* A file in memory; bytes are freed by the caller. */
typedef struct File
{
	uint8_t *bytes;
	size_t length;
} File;

extern void die(const char *what) __attribute__((noreturn));

/* Random numbers from a seed: from 0 to 1, and normally distributed. */
extern double random_even(uint64_t *state);
extern double random_normal(uint64_t *state);

extern Canvas canvas_make(int width, int height);
extern void canvas_free(Canvas *canvas);
extern void canvas_set(Canvas *canvas, int x, int y, double red, double green, double blue);

/* Changes; each returns a new picture. Parts of a side are fractions of it. */
extern Canvas canvas_scale(const Canvas *canvas, int width, int height);
extern Canvas canvas_crop(const Canvas *canvas, double left, double right, double top,
						  double bottom);
extern Canvas canvas_rotate(const Canvas *canvas, double degrees); /* corners filled with black */
extern Canvas canvas_turn(const Canvas *canvas, bool transpose, bool mirror);
extern Canvas canvas_level(const Canvas *canvas, double gain, double offset, double gamma);
extern Canvas canvas_grey(const Canvas *canvas);
extern Canvas canvas_caption(const Canvas *canvas, double share);

/* What photographs are like: a face before a wall, a lane, noise of all sizes. */
extern Canvas draw_face(uint64_t person, uint64_t shot);
extern Canvas draw_lane(uint64_t plate, uint64_t shot);
extern Canvas draw_texture(uint64_t seed);

/* draw_noise adds noise of all sizes, of an amplitude in luminances, the largest a share wide. */
extern void draw_noise(Canvas *canvas, uint64_t seed, double amplitude, double share);

extern File write_jpeg(const Canvas *canvas, int quality, bool progressive);
extern File write_png(const Canvas *canvas);
extern Canvas read_picture(const char *path);

#endif
