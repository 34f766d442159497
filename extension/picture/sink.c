/*
 * sink.c - rows in, a small picture out.
 *
 * Along a side of n pixels and m cells (m <= n), pixel i reaches from i * m to
 * (i + 1) * m and cell j from j * n to (j + 1) * n, so that everything is whole
 * numbers, and a pixel lies in two cells at most.
 */
#include "picture/sink.h"

#include <stdlib.h>
#include <string.h>

static uint32_t
cells_of(uint32_t pixels)
{
	return pixels <= PICTURE_MOST_SIDE ? pixels : PICTURE_SIDE;
}

PictureSink *
picture_sink_begin(uint32_t width, uint32_t height)
{
	PictureSink *sink = malloc(sizeof(*sink));
	size_t count;

	if (sink == NULL)
		return NULL;
	*sink = (PictureSink){.width = width,
						  .height = height,
						  .cells_across = cells_of(width),
						  .cells_down = cells_of(height)};
	count = (size_t) sink->cells_across * sink->cells_down;
	sink->pixels = calloc(count, 1);
	if (sink->cells_across < width || sink->cells_down < height)
		sink->cells = calloc(count, sizeof(*sink->cells));
	else if (sink->pixels != NULL)
		return sink;
	if (sink->pixels != NULL && sink->cells != NULL)
		return sink;
	picture_sink_end(sink);
	return NULL;
}

static void
wipe_and_free(void *memory, size_t size)
{
	if (memory != NULL)
		core_wipe(memory, size);
	free(memory);
}

void
picture_sink_end(PictureSink *sink)
{
	size_t count;

	if (sink == NULL)
		return;
	count = (size_t) sink->cells_across * sink->cells_down;
	wipe_and_free(sink->pixels, count);
	wipe_and_free(sink->cells, count * sizeof(*sink->cells));
	wipe_and_free(sink, sizeof(*sink));
}

/* How much of pixel i lies in cell j, the first that it touches; the rest lies in the next. */
static uint32_t
share_of_first(uint64_t i, uint64_t j, uint32_t pixels, uint32_t cells)
{
	uint64_t room = (j + 1) * pixels - i * cells;

	return (uint32_t) (room < cells ? room : cells);
}

/* Adds up the pixels of a row by cell. */
static void
add_pixels(PictureSink *sink, const PictureRow *row)
{
	uint32_t n = sink->width;
	uint32_t m = sink->cells_across;
	uint64_t x = row->first;
	uint64_t cell = x * m / n;

	memset(sink->row, 0, sink->cells_across * sizeof(sink->row[0]));
	for (uint32_t i = 0; i < row->count && x < n; i++, x += row->step)
	{
		int64_t pixel = row->pixels[i];
		uint32_t first;

		while ((cell + 1) * n <= x * m)
			cell++;
		first = share_of_first(x, cell, n, m);
		sink->row[cell] += pixel * first;
		if (first < m)
			sink->row[cell + 1] += pixel * (m - first);
	}
}

static void
add_row(PictureSink *sink, uint64_t cell, int64_t weight)
{
	int64_t *cells = sink->cells + cell * sink->cells_across;

	for (uint32_t i = 0; i < sink->cells_across; i++)
		cells[i] += sink->row[i] * weight;
}

/* Puts pixels where they are to stay. */
static void
put_pixels(PictureSink *sink, const PictureRow *row)
{
	uint8_t *to = sink->pixels + (size_t) row->y * sink->width;

	if (row->step == 1 && row->count <= sink->width - row->first)
		memcpy(to + row->first, row->pixels, row->count);
	else
		for (uint64_t i = 0, x = row->first; i < row->count && x < sink->width; i++, x += row->step)
			to[x] = row->pixels[i];
}

void
picture_sink_add(PictureSink *sink, const PictureRow *row)
{
	uint64_t cell = (uint64_t) row->y * sink->cells_down / sink->height;
	uint32_t first;

	if (row->y >= sink->height || row->first >= sink->width)
		return;
	if (sink->cells == NULL)
	{
		put_pixels(sink, row);
		return;
	}
	add_pixels(sink, row);
	first = share_of_first(row->y, cell, sink->height, sink->cells_down);
	add_row(sink, cell, first);
	if (first < sink->cells_down)
		add_row(sink, cell + 1, sink->cells_down - first);
}

void
picture_sink_read(PictureSink *sink, PictureGrey *grey)
{
	int64_t whole = (int64_t) sink->width * sink->height;
	size_t count = (size_t) sink->cells_across * sink->cells_down;

	for (size_t i = 0; sink->cells != NULL && i < count; i++)
		sink->pixels[i] = (uint8_t) ((sink->cells[i] + whole / 2) / whole);
	*grey = (PictureGrey){sink->cells_across, sink->cells_down, sink->pixels};
	sink->pixels = NULL;
}
