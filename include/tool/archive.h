/*
 * archive.h - a ledger in files, as c2sp.org/tlog-tiles lays them out, and as
 * biometric.export_ledger() and `fetch` write them:
 *
 *   checkpoint               the signed head
 *   verifier                 the keys that have signed, a line each
 *   minimum-index            the first entry that is there; 0 without it; a hint
 *   tile/entries/N[.p/W]     256 entries, or W
 *   tile/L/N[.p/W]           256 hashes, or W
 *
 * Nothing in it is trusted: whatever is read here is compared, in the end,
 * with a checkpoint whose signature verifies.
 */
#ifndef BIOMETRIC_TOOL_ARCHIVE_H
#define BIOMETRIC_TOOL_ARCHIVE_H

#include "core/tlog_tiles.h"
#include "tool/file.h"
#include "tool/report.h"

typedef struct Archive
{
	const char *path;
	int fd;
	uint64_t minimum; /* the first entry that is there, as an unsigned file says */
	Buffer scratch;
} Archive;

/* archive_open opens a directory; TOOL_VERIFIED or what report_problem returned. */
extern ToolExit archive_open(Archive *archive, const char *path);

/* archive_close gives back what archive_open took. */
extern void archive_close(Archive *archive);

/*
 * archive_width returns how many hashes, or entries, a tile has in a tree of size
 * entries: 0 to 256.
 */
extern int archive_width(uint64_t size, int level, uint64_t index);

/* archive_edge_index returns the index of the first tile of a level that is not full. */
extern uint64_t archive_edge_index(uint64_t size, int level);

/*
 * archive_read_tile reads the first width hashes of a tile: from the partial
 * tile of that width, or from the full one.
 */
extern FileResult archive_read_tile(Archive *archive, int level, uint64_t index, int width,
									MerkleHash *hashes);

/*
 * archive_read_bundle reads the bundle of width entries, or the full one.
 * found: how many entries it must have.
 */
extern FileResult archive_read_bundle(Archive *archive, uint64_t index, int width, Buffer *buffer,
									  int *found);

/*
 * archive_has_bundle tells whether there is something where an entry's bundle has
 * to be; true for an entry behind the last.
 */
extern bool archive_has_bundle(Archive *archive, uint64_t size, uint64_t sequence);

/*
 * archive_file_problem says that a file of the archive cannot be used, which makes
 * it not verify.
 */
extern ToolExit archive_file_problem(int level, uint64_t index, int width, FileResult result);

#endif
