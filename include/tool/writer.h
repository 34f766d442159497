/*
 * writer.h - writes an archive, entry by entry, so that it can be stopped at
 * any moment and taken up again.
 *
 * Full bundles and tiles are put in place as they get full, tiles of a lower
 * level first; partial ones at the end, the checkpoint after everything else
 * is on disk.
 */
#ifndef BIOMETRIC_TOOL_WRITER_H
#define BIOMETRIC_TOOL_WRITER_H

#include "tool/archive.h"

typedef struct Writer
{
	Archive *archive;
	TlogFrontier frontier;
	uint8_t *bundle; /* entries behind the last full bundle */
	size_t bundle_length;
	bool failed; /* a file could not be written; reported */
} Writer;

/*
 * writer_start begins at the last bundle of the first size entries that is not full,
 * with the partial tiles that the archive has of a tree of that size.
 */
extern ToolExit writer_start(Writer *writer, Archive *archive, uint64_t size);

/* writer_add appends an entry. */
extern ToolExit writer_add(Writer *writer, const void *entry, size_t length);

/* writer_finish writes the partial tiles and bundle, and waits until all is on disk. */
extern ToolExit writer_finish(Writer *writer);

/*
 * writer_publish puts the checkpoint in place, and removes partial tiles that are
 * full by now. old_size: of the checkpoint before.
 */
extern ToolExit writer_publish(Writer *writer, const void *note, size_t length, uint64_t old_size);

/* writer_free gives its memory back. */
extern void writer_free(Writer *writer);

#endif
