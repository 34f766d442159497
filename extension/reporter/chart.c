/*
 * chart.c - the days of the period, as an image that reads in black and white.
 */
#include "reporter/html.h"

#include "reporter/moment.h"

#include <inttypes.h>
#include <stdlib.h>

#define WIDTH 960
#define HEIGHT 270
#define LEFT 64
#define RIGHT 14
#define TOP 34
#define BOTTOM 40
#define PLOT_WIDTH (WIDTH - LEFT - RIGHT)
#define PLOT_HEIGHT (HEIGHT - TOP - BOTTOM)
/* Periods of up to so many days are shown whole, longer ones from the first event to the last. */
#define WHOLE_DAYS 62
#define BARS_MAX 124
#define FLAGS_MAX 60
/* Marks that are nearer to one another have one flag. */
#define FLAG_ROOM 50

typedef struct Bar
{
	uint64_t disclosures;
	uint64_t refusals;
} Bar;

/* What is drawn where. */
typedef struct Chart
{
	int64_t first; /* day */
	int64_t days;
	int64_t step; /* days a bar */
	int count;
	uint64_t top; /* of the axis */
	Bar bars[BARS_MAX];
} Chart;

/* The days that something was sent or refused on; false: there are none. */
static bool
find_days(const Case *matter, int64_t *first, int64_t *last)
{
	for (uint32_t i = 0; i < matter->count.day_count; i++)
	{
		int64_t day = matter->count.days[i].day;

		*first = i == 0 || day < *first ? day : *first;
		*last = i == 0 || day > *last ? day : *last;
	}
	return matter->count.day_count > 0;
}

/* 1, 2 or 5 times a power of ten, at least as much. */
static uint64_t
round_up(uint64_t value)
{
	uint64_t unit = 1;

	while (unit * 10 < value)
		unit *= 10;
	for (uint64_t times = 1; times <= 10; times++)
	{
		if ((times <= 2 || times == 4 || times == 5 || times == 6 || times == 8 || times == 10) &&
			unit * times >= value)
			return unit * times;
	}
	return unit * 10;
}

static bool
make_chart(const Case *matter, Chart *chart)
{
	int64_t first;
	int64_t last;

	*chart = (Chart){0};
	if (!find_days(matter, &first, &last))
		return false;
	if (matter->from != INT64_MIN && matter->to != INT64_MAX &&
		moment_day(matter->to - 1) - moment_day(matter->from) < WHOLE_DAYS)
	{
		first = moment_day(matter->from);
		last = moment_day(matter->to - 1);
	}
	chart->first = first;
	chart->days = last - first + 1;
	chart->step = (chart->days + BARS_MAX - 1) / BARS_MAX;
	if (chart->step > 1 && chart->step < 7)
		chart->step = 7;
	chart->count = (int) ((chart->days + chart->step - 1) / chart->step);
	chart->days = chart->count * chart->step;
	for (uint32_t i = 0; i < matter->count.day_count; i++)
	{
		const CountedDay *day = &matter->count.days[i];
		Bar *bar = &chart->bars[(day->day - first) / chart->step];

		bar->disclosures += day->disclosures;
		bar->refusals += day->refusals;
		if (bar->disclosures > chart->top)
			chart->top = bar->disclosures;
		if (bar->refusals > chart->top)
			chart->top = bar->refusals;
	}
	chart->top = round_up(chart->top < 4 ? 4 : chart->top);
	return true;
}

static double
place_of(const Chart *chart, double day)
{
	return LEFT + PLOT_WIDTH * (day - (double) chart->first) / (double) chart->days;
}

static void
draw_axes(FILE *out, const Chart *chart)
{
	int64_t every = chart->days / 8 > 0 ? chart->days / 8 : 1;
	char date[MOMENT_TEXT_MAX];

	for (int i = 0; i <= 4; i++)
	{
		double y = TOP + PLOT_HEIGHT * (1 - i / 4.0);

		fprintf(out, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>",
				i == 0 ? "axis" : "grid", LEFT, WIDTH - RIGHT, y, y);
		fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, y + 4);
		if (chart->top * (uint64_t) i % 4 == 0)
			html_number(out, chart->top * (uint64_t) i / 4);
		fputs("</text>", out);
	}
	for (int64_t day = chart->first; day < chart->first + chart->days; day += every)
	{
		double x = place_of(chart, (double) day + (double) chart->step / 2);

		if (x > WIDTH - RIGHT - 16 && day != chart->first)
			break;
		moment_day_short(day, date);
		fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>", x,
				HEIGHT - BOTTOM + 18, date);
	}
}

static void
draw_bar(FILE *out, const char *class, double x, double width, double height)
{
	if (height <= 0)
		return;
	if (height < 1.5)
		height = 1.5;
	fprintf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", class,
			x, TOP + PLOT_HEIGHT - height, width, height);
}

static void
draw_bars(FILE *out, const Chart *chart)
{
	double slot = (double) PLOT_WIDTH / chart->count;
	double width = slot > 60 ? 44 : slot * 0.76;

	for (int i = 0; i < chart->count; i++)
	{
		const Bar *bar = &chart->bars[i];
		double left = LEFT + slot * i + (slot - width) / 2;
		double share = bar->refusals == 0 ? 1 : bar->disclosures == 0 ? 0 : 0.6;
		double unit = (double) PLOT_HEIGHT / (double) chart->top;

		draw_bar(out, "out", left, width * share, (double) bar->disclosures * unit);
		draw_bar(out, "no", left + width * share, width * (1 - share),
				 (double) bar->refusals * unit);
	}
}

/* Changes of the policy are numbered in their order, as far as they lie in the chart. */
static bool
is_marked(const Chart *chart, const Notable *notable)
{
	int64_t day = moment_day(notable->at);

	return (notable->event == ENTRY_POLICY_CHANGED || notable->event == ENTRY_INCIDENT) &&
		   day >= chart->first && day < chart->first + chart->days;
}

unsigned
html_mark_of(const Case *matter, const Notable *notable)
{
	static Chart chart;
	static const Case *made_for;
	static bool made;
	unsigned number = 0;

	if (made_for != matter)
		made = make_chart(matter, &chart);
	made_for = matter;
	if (!made || !is_marked(&chart, notable))
		return 0;
	for (uint32_t i = 0; i < matter->count.notable_count; i++)
	{
		number += is_marked(&chart, &matter->count.notables[i]);
		if (&matter->count.notables[i] == notable)
			break;
	}
	return number <= FLAGS_MAX ? number : 0;
}

/* Draws one flag for the marks of numbers first to last, which would cover one another. */
static void
draw_flag(FILE *out, double x, unsigned first, unsigned last)
{
	double width = first == last ? 20 : last < 10 ? 32 : 46;
	double middle = x < LEFT + width / 2 ? LEFT + width / 2 : x;

	if (middle > WIDTH - RIGHT - width / 2)
		middle = WIDTH - RIGHT - width / 2;
	fprintf(out, "<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", x, x,
			TOP - 6, TOP + PLOT_HEIGHT);
	fprintf(out,
			"<rect class=\"flag\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"18\" rx=\"9\"/>"
			"<text class=\"flagtext\" x=\"%.1f\" y=\"%d\">%u",
			middle - width / 2, TOP - 24, width, middle, TOP - 11, first);
	if (last > first)
		fprintf(out, "&ndash;%u", last);
	fputs("</text>", out);
}

static void
draw_marks(FILE *out, const Case *matter, const Chart *chart)
{
	double begin = 0;
	unsigned first = 0;
	unsigned last = 0;

	for (uint32_t i = 0; i < matter->count.notable_count; i++)
	{
		const Notable *notable = &matter->count.notables[i];
		unsigned number = html_mark_of(matter, notable);
		double x = place_of(chart, (double) notable->at / (double) MOMENT_DAY);

		if (number == 0)
			continue;
		if (first != 0 && x - begin < FLAG_ROOM)
		{
			last = number;
			continue;
		}
		if (first != 0)
			draw_flag(out, begin, first, last);
		begin = x;
		first = last = number;
	}
	if (first != 0)
		draw_flag(out, begin, first, last);
}

void
html_timeline(FILE *out, const Case *matter)
{
	static Chart chart;
	char first[MOMENT_TEXT_MAX];
	char last[MOMENT_TEXT_MAX];

	if (!make_chart(matter, &chart))
	{
		fputs("<p>Nothing was released or refused in this period.</p>\n", out);
		return;
	}
	moment_day_words(chart.first, first);
	moment_day_words(chart.first + chart.days - 1, last);
	fprintf(out,
			"<figure>\n<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" "
			"aria-labelledby=\"chart-title chart-desc\">\n"
			"<title id=\"chart-title\">Disclosures and refusals from %s to %s</title>\n"
			"<desc id=\"chart-desc\">A bar for each day or span of days; the table by day of "
			"release below has the same numbers. ",
			WIDTH, HEIGHT, first, last);
	html_count(out, case_total(matter).disclosures, "disclosure", "disclosures");
	fputs(" and ", out);
	html_count(out, matter->count.refused, "refusal", "refusals");
	fputs(" in all.</desc>\n<defs><pattern id=\"hatch\" width=\"5\" height=\"5\" "
		  "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"5\" "
		  "height=\"5\" fill=\"#fff\"/><rect width=\"1.8\" height=\"5\" fill=\"#14202b\"/>"
		  "</pattern></defs>\n",
		  out);
	draw_axes(out, &chart);
	draw_bars(out, &chart);
	draw_marks(out, matter, &chart);
	fputs("\n</svg>\n<figcaption class=\"key\"><span><svg viewBox=\"0 0 26 14\" "
		  "aria-hidden=\"true\"><rect width=\"26\" height=\"14\" fill=\"#1d4568\"/></svg>"
		  "disclosures</span><span><svg viewBox=\"0 0 26 14\" aria-hidden=\"true\"><rect "
		  "x=\".5\" y=\".5\" width=\"25\" height=\"13\" fill=\"url(#hatch)\" "
		  "stroke=\"#14202b\"/></svg>refusals</span><span><span class=\"dot\">n</span> what was "
		  "changed or noted, by its number below</span>",
		  out);
	fprintf(out, "<span>a bar is %s</span></figcaption>\n</figure>\n",
			chart.step == 1	  ? "a day (UTC)"
			: chart.step == 7 ? "a week"
							  : "some days");
}
