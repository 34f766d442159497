/*
 * stats.c - series of measurements, and figures beside their targets.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

void
series_add(Series *series, double value)
{
	if (series->count == series->capacity)
	{
		series->capacity = series->capacity ? series->capacity * 2 : 256;
		series->values = realloc(series->values, series->capacity * sizeof(double));
		if (series->values == NULL)
			die("out of memory");
	}
	series->values[series->count++] = value;
}

void
series_append(Series *series, const Series *other)
{
	for (size_t i = 0; i < other->count; i++)
		series_add(series, other->values[i]);
}

static int
compare_doubles(const void *a, const void *b)
{
	double left = *(const double *) a;
	double right = *(const double *) b;

	return (left > right) - (left < right);
}

double
series_percentile(const Series *series, double percent)
{
	double *sorted;
	double position;
	size_t below;
	double result;

	if (series->count == 0)
		return 0;
	sorted = malloc(series->count * sizeof(double));
	if (sorted == NULL)
		die("out of memory");
	memcpy(sorted, series->values, series->count * sizeof(double));
	qsort(sorted, series->count, sizeof(double), compare_doubles);

	position = percent / 100 * (double) (series->count - 1);
	below = (size_t) position;
	result = sorted[below];
	if (below + 1 < series->count)
		result += (position - (double) below) * (sorted[below + 1] - sorted[below]);
	free(sorted);
	return result;
}

double
series_median(const Series *series)
{
	return series_percentile(series, 50);
}

double
series_ratio(const Series *a, const Series *b)
{
	Series ratios = {0};
	double result;

	for (size_t i = 0; i < a->count && i < b->count; i++)
		series_add(&ratios, a->values[i] / b->values[i]);
	result = series_median(&ratios);
	series_free(&ratios);
	return result;
}

void
series_free(Series *series)
{
	free(series->values);
	memset(series, 0, sizeof(*series));
}

bool
figure_report(const Bench *bench, const Figure *figure)
{
	bool reached = figure->direction == AT_MOST ? figure->value <= figure->target
												: figure->value >= figure->target;
	const char *sign = figure->direction == AT_MOST ? "<=" : ">=";
	int decimals = figure->target >= 100 ? 0 : 2;
	char line[256];
	FILE *file;

	snprintf(line, sizeof(line), "%-52s %10.*f%-3s %s %.*f%-3s %s", figure->name, decimals,
			 figure->value, figure->unit, sign, decimals, figure->target, figure->unit,
			 reached ? "reached" : "short");
	printf("  => %s\n", line);
	if (bench->results == NULL)
		return reached;

	file = fopen(bench->results, "a");
	if (file == NULL)
		die("cannot write %s", bench->results);
	fprintf(file, "%s\n", line);
	fclose(file);
	return reached;
}
