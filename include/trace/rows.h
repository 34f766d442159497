/*
 * rows.h - the rows that trace() answers with.
 *
 * For extension/trace only. They come log by log, and go out by match and distance: they
 * are sorted on the way, on disk where there are many.
 */
#ifndef BIOMETRIC_TRACE_ROWS_H
#define BIOMETRIC_TRACE_ROWS_H

#include "postgres.h"

#include "nodes/execnodes.h"

#include "trace/search.h"

typedef struct TraceRows TraceRows;

/* trace_rows_begin takes rows for a search whose images are sorted, in the current context. */
extern TraceRows *trace_rows_begin(const Search *search, ReturnSetInfo *result);

/*
 * trace_rows_disclosure adds the row of a disclosure of an image, in the log that is number
 * log in Search.logs. named: an authentic mark names it.
 */
extern void trace_rows_disclosure(TraceRows *rows, const FoundImage *image, int log,
								  const ActivityEntry *entry, bool named);

/* trace_rows_image adds the row of an image that was never disclosed. */
extern void trace_rows_image(TraceRows *rows, const FoundImage *image);

/* trace_rows_end puts all rows into the result; returns how many. */
extern int64 trace_rows_end(TraceRows *rows);

#endif
