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

PictureSink *
picture_sink_begin(uint32_t width, uint32_t height)
{
	PictureSink *sink = calloc(1, sizeof(*sink));

	if (sink == NULL)
		return NULL;
	sink->width = width;
	sink->height = height;
	sink->cells_across = width < PICTURE_SIDE ? width : PICTURE_SIDE;
	sink->cells_down = height < PICTURE_SIDE ? height : PICTURE_SIDE;
	return sink;
}

void
picture_sink_end(PictureSink *sink)
{
	if (sink != NULL)
		core_wipe(sink, sizeof(*sink));
	free(sink);
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

	memset(sink->row, 0, sizeof(sink->row));
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
	for (uint32_t i = 0; i < sink->cells_across; i++)
		sink->cells[cell][i] += sink->row[i] * weight;
}

void
picture_sink_add(PictureSink *sink, const PictureRow *row)
{
	uint64_t cell = (uint64_t) row->y * sink->cells_down / sink->height;
	uint32_t first;

	if (row->y >= sink->height || row->first >= sink->width)
		return;
	add_pixels(sink, row);
	first = share_of_first(row->y, cell, sink->height, sink->cells_down);
	add_row(sink, cell, first);
	if (first < sink->cells_down)
		add_row(sink, cell + 1, sink->cells_down - first);
}

bool
picture_sink_read(const PictureSink *sink, PictureGrey *grey)
{
	int64_t whole = (int64_t) sink->width * sink->height;
	uint8_t *pixels = malloc((size_t) sink->cells_across * sink->cells_down);

	if (pixels == NULL)
		return false;
	for (uint32_t j = 0; j < sink->cells_down; j++)
		for (uint32_t i = 0; i < sink->cells_across; i++)
			pixels[(size_t) j * sink->cells_across + i] =
				(uint8_t) ((sink->cells[j][i] + whole / 2) / whole);
	*grey = (PictureGrey){sink->cells_across, sink->cells_down, pixels};
	return true;
}
