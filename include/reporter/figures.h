/*
 * figures.h - the figures of a report: how much there is of each value of each dimension,
 * as biometric.breach_report() gives it and as it is counted from an archive.
 */
#ifndef BIOMETRIC_REPORTER_FIGURES_H
#define BIOMETRIC_REPORTER_FIGURES_H

#include "reporter/table.h"

/* In the order of breach_report(). */
typedef enum Dimension
{
	DIMENSION_TOTAL = 0,
	DIMENSION_KIND,
	DIMENSION_RELATION,
	DIMENSION_AUTHORIZATION,
	DIMENSION_PURPOSE,
	DIMENSION_NETWORK,
	DIMENSION_LOGIN,
	DIMENSION_DAY,
	DIMENSION_PLACE,
	DIMENSION_COLLECTED_ON,
	DIMENSION_COLLECTED_FOR,
	DIMENSION_DETACHED
} Dimension;

#define DIMENSION_COUNT (DIMENSION_DETACHED + 1)
/* Those that a disclosure is counted in; the first of them that go by rows is DIMENSION_PLACE. */
#define DIMENSION_COUNTED DIMENSION_DETACHED
/* Numbers that a figure is made of: those that are compared. */
#define FIGURE_NUMBERS 6

typedef struct Figure
{
	Dimension dimension;
	uint32_t value; /* a text's number; 0: none */
	bool taken;
	uint64_t disclosures;
	uint64_t images;
	uint64_t rows;
	uint64_t subjects;
	int64_t first; /* microseconds since 1970; of none when there are no disclosures */
	int64_t last;
	uint64_t mark; /* whoever counts: the disclosure that was counted last */
} Figure;

typedef struct FigureList
{
	Figure *items;
	uint32_t count;
	uint32_t capacity;
	NumberMap index;
} FigureList;

/* dimension_name returns "total" and so on. */
extern const char *dimension_name(Dimension dimension);

/* dimension_title returns what people call it: "Kind of image" and so on. */
extern const char *dimension_title(Dimension dimension);

/* dimension_from_name finds a dimension; false: there is none of that name. */
extern bool dimension_from_name(const char *name, Dimension *dimension);

/* figures_get returns a figure's index; it is added, with zeroes, if it is new. */
extern uint32_t figures_get(FigureList *list, Dimension dimension, uint32_t value);

/* figures_find returns a figure, or NULL; valid until one is added. */
extern const Figure *figures_find(const FigureList *list, Dimension dimension, uint32_t value);

/*
 * figures_order puts a list in the order in which it is shown: by dimension; days and
 * places by themselves, all else by images, the most first; what was not taken last.
 */
extern void figures_order(FigureList *list, const Texts *texts);

/* What became of a comparison. */
typedef struct Comparison
{
	uint64_t compared; /* numbers */
	uint64_t different;
	char *first; /* the first difference in words; NULL: there is none; free it */
	/*
	 * What was counted is of one log, the server's is of this and earlier ones: of releases,
	 * it must have as many at least; rows and people cannot be compared.
	 */
	bool several;
	uint64_t uncounted; /* numbers that were not compared */
} Comparison;

/*
 * figures_compare compares every number of what the server says with what was counted,
 * and what the one has and the other has not.
 */
extern void figures_compare(const FigureList *server, const FigureList *counted, const Texts *texts,
							Comparison *comparison);

/* compare_numbers compares one number more; name, value: what it is, for a difference. */
extern void compare_numbers(Comparison *comparison, const char *name, Span value, int64_t server,
							int64_t counted);

/* compare_by_rows does it with one that goes by rows or people. */
extern void compare_by_rows(Comparison *comparison, const char *name, Span value, int64_t server,
							int64_t counted);

/* compare_texts does it with texts, of which none is one. */
extern void compare_texts(Comparison *comparison, const char *name, Span value, Span server,
						  Span counted);

/* compare_moments does it with moments; INT64_MIN and INT64_MAX: none. */
extern void compare_moments(Comparison *comparison, const char *name, Span value, int64_t server,
							int64_t counted);

/*
 * compare_done compares when a transaction began, as a server says, with its entry's time:
 * it is never behind that, and at most a day before it.
 */
extern void compare_done(Comparison *comparison, const char *name, Span value, int64_t server,
						 int64_t counted);

/* compare_clear begins anew. */
extern void compare_clear(Comparison *comparison);

/* figures_free gives its memory back. */
extern void figures_free(FigureList *list);

#endif
