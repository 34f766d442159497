/*
 * draw.c - invents pictures. The faces are meant to be as alike as those of a
 * passport office: one pose, one wall, one light; what differs are the measures
 * that differ between people, and the grain.
 */
#include "canvas.h"

#include <math.h>
#include <stdlib.h>

#define LAYERS 7

typedef struct Head
{
	double x, y, rx, ry;				 /* centre and radii, of the height */
	double eye_y, eye_gap, eye_r, brow;	 /* from the centre */
	double nose, nose_w, mouth_y, mouth; /* from the centre */
	double hair, hair_line, neck, shoulders;
	double skin, hair_shade, shirt, wall, light;
} Head;

/* Values of a coarse grid of random numbers, smooth between them. */
static double
smooth_noise(uint64_t seed, double x, double y)
{
	double value = 0;
	int x0 = (int) floor(x);
	int y0 = (int) floor(y);

	for (int dy = 0; dy < 2; dy++)
		for (int dx = 0; dx < 2; dx++)
		{
			uint64_t state =
				seed ^ ((uint64_t) (x0 + dx) * 0x9e3779b1u) ^ ((uint64_t) (y0 + dy) << 34);
			double fx = x - x0;
			double fy = y - y0;

			fx = fx * fx * (3 - 2 * fx);
			fy = fy * fy * (3 - 2 * fy);
			value += (2 * random_even(&state) - 1) * (dx ? fx : 1 - fx) * (dy ? fy : 1 - fy);
		}
	return value;
}

void
draw_noise(Canvas *canvas, uint64_t seed, double amplitude, double share)
{
	for (int y = 0; y < canvas->height; y++)
		for (int x = 0; x < canvas->width; x++)
		{
			uint8_t *p = canvas->rgb + 3 * ((size_t) y * canvas->width + x);
			double size = share * canvas->height;
			double strength = amplitude;
			double sum = 0;

			for (int layer = 0; layer < LAYERS && size >= 1; layer++)
			{
				sum += strength * smooth_noise(seed + (uint64_t) layer * 977, x / size, y / size);
				size /= 2;
				strength *= 0.6;
			}
			canvas_set(canvas, x, y, p[0] + sum, p[1] + sum, p[2] + sum);
		}
}

/* 1 inside an ellipse, 0 outside, blurred at its edge. */
static double
ellipse(double x, double y, double rx, double ry)
{
	double d = (sqrt(x * x / (rx * rx) + y * y / (ry * ry)) - 1) * fmin(rx, ry);

	return 1 / (1 + exp(d * 250));
}

static double
near(uint64_t *state, double mean, double spread)
{
	return mean * (1 + spread * random_normal(state));
}

static Head
make_head(uint64_t person, uint64_t shot)
{
	uint64_t who = person * 2654435761u + 7;
	uint64_t when = shot * 40503u + person * 31 + 3;
	Head head = {
		.x = 0.375 + 0.006 * random_normal(&when),
		.y = 0.47 + 0.008 * random_normal(&when),
		.rx = near(&who, 0.205, 0.05),
		.ry = near(&who, 0.28, 0.05),
		.eye_y = near(&who, -0.03, 0.3),
		.eye_gap = near(&who, 0.085, 0.06),
		.eye_r = near(&who, 0.026, 0.12),
		.brow = near(&who, 0.055, 0.15),
		.nose = near(&who, 0.085, 0.12),
		.nose_w = near(&who, 0.035, 0.15),
		.mouth_y = near(&who, 0.155, 0.07),
		.mouth = near(&who, 0.075, 0.13),
		.hair = near(&who, 0.05, 0.5),
		.hair_line = near(&who, -0.14, 0.2),
		.neck = near(&who, 0.12, 0.12),
		.shoulders = near(&who, 0.31, 0.08),
		.skin = near(&who, 165, 0.2),
		.hair_shade = fmax(15, near(&who, 65, 0.6)),
		.shirt = fmax(20, near(&who, 95, 0.6)),
		.wall = near(&when, 200, 0.02),
		.light = 18 * (1 + 0.15 * random_normal(&when)),
	};

	return head;
}

static double
mix(double below, double above, double share)
{
	return below + (above - below) * share;
}

/* The luminance of a head at a place, in parts of the picture's height. */
static double
shade_of(const Head *head, double px, double py)
{
	double x = px - head->x;
	double y = py - head->y;
	double eye = fabs(fabs(x) - head->eye_gap);
	double shade = head->wall + head->light * (px - 0.375) * 2 - 12 * py;
	double face = ellipse(x, y, head->rx, head->ry);

	shade = mix(shade, head->hair_shade,
				ellipse(x, y + head->hair, head->rx + head->hair * 0.8, head->ry + head->hair));
	shade = mix(shade, head->shirt, ellipse(x, y - 0.62, head->shoulders, 0.28));
	shade = mix(shade, head->skin - 25, ellipse(x, y - 0.3, head->neck, 0.13));
	shade = mix(shade, head->skin + head->light * x * 3 - 40 * (x * x + y * y) * 4, face);
	if (y < head->hair_line)
		shade = mix(shade, head->hair_shade, face * 1 / (1 + exp((y - head->hair_line) * 300)));
	shade = mix(shade, head->skin - 60, ellipse(eye, y - head->eye_y, head->eye_r * 1.5, 0.02));
	shade = mix(shade, 235, ellipse(eye, y - head->eye_y, head->eye_r * 1.2, head->eye_r * 0.5));
	shade = mix(shade, 40, ellipse(eye, y - head->eye_y, head->eye_r * 0.5, head->eye_r * 0.5));
	shade = mix(shade, head->hair_shade,
				0.8 * ellipse(eye, y - head->eye_y + head->brow, head->eye_r * 1.7, 0.009));
	shade =
		mix(shade, head->skin - 35,
			0.7 * ellipse(fabs(x) - head->nose_w * 0.6, y - head->nose, head->nose_w * 0.4, 0.008));
	shade = mix(shade, head->skin + 18,
				0.6 * ellipse(x, y - head->nose * 0.5, 0.012, head->nose * 0.5));
	shade = mix(shade, head->skin - 55, ellipse(x, y - head->mouth_y, head->mouth, 0.014));
	return mix(shade, head->skin - 90, ellipse(x, y - head->mouth_y, head->mouth * 0.95, 0.003));
}

Canvas
draw_face(uint64_t person, uint64_t shot)
{
	Canvas made = canvas_make(300, 400);
	Head head = make_head(person, shot);
	uint64_t state = person * 1000003u + shot;

	for (int y = 0; y < made.height; y++)
		for (int x = 0; x < made.width; x++)
		{
			double shade = shade_of(&head, x / 400.0, y / 400.0);

			canvas_set(&made, x, y, shade * 1.06, shade, shade * 0.9);
		}
	draw_noise(&made, person * 77 + 5, 9, 0.06);
	draw_noise(&made, state, 2.5, 0.01);
	return made;
}

/* A lane seen by one camera: the same road each time, a car and its plate, the hour's light. */
Canvas
draw_lane(uint64_t plate, uint64_t shot)
{
	Canvas made = canvas_make(400, 300);
	uint64_t state = plate * 7919 + shot;
	double car = 40 + 180 * random_even(&state);
	double left = 0.28 + 0.04 * random_normal(&state);
	double width = 0.44 + 0.03 * random_normal(&state);
	double light = 1 + 0.15 * random_normal(&state);

	for (int y = 0; y < made.height; y++)
		for (int x = 0; x < made.width; x++)
		{
			double px = x / 400.0;
			double py = y / 300.0;
			double shade = py < 0.25 ? 190 - 100 * py : 95 + 40 * py;

			if (fabs(px - 0.5 - (py - 0.25) * 0.55) < 0.01 ||
				fabs(px - 0.5 + (py - 0.25) * 0.55) < 0.01)
				shade = 220;
			if (px > left && px < left + width && py > 0.3 && py < 0.85)
				shade = py < 0.5 ? 60 : car;
			if (px > left + 0.14 && px < left + width - 0.14 && py > 0.66 && py < 0.74)
				shade = ((int) (px * 90) * 2654435761u + plate * 40503u) >> 3 & 1 ? 30 : 230;
			canvas_set(&made, x, y, shade * light, shade * light, shade * light);
		}
	draw_noise(&made, 4711, 14, 0.2);
	draw_noise(&made, state, 3, 0.01);
	return made;
}

Canvas
draw_texture(uint64_t seed)
{
	Canvas made = canvas_make(320, 240);

	for (int y = 0; y < made.height; y++)
		for (int x = 0; x < made.width; x++)
			canvas_set(&made, x, y, 128, 128, 128);
	draw_noise(&made, seed * 131, 90, 0.5);
	return made;
}
