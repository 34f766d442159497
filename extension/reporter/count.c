/*
 * count.c - the three readings of an archive.
 */
#define _GNU_SOURCE

#include "reporter/count.h"

#include "reporter/member.h"
#include "reporter/moment.h"
#include "tool/walk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool
is_disclosure(const EntryFields *fields)
{
	return fields->event == ENTRY_DISCLOSED || fields->event == ENTRY_OBSERVED;
}

static bool
is_of_party(const Count *count, const PrintOrigin *origin)
{
	Span party = count->wanted.party;

	/* clients that belong to no party have none in their sessions */
	return origin->session != NULL && origin->session->party.length == party.length &&
		   (party.length == 0 ||
			memcmp(origin->session->party.bytes, party.bytes, party.length) == 0);
}

static bool
is_in_period(const Count *count, const EntryFields *fields)
{
	return fields->at >= count->wanted.from && fields->at < count->wanted.to;
}

/* A transaction's id as a map's key, which may be anything but is never 0 here. */
static void
note_aborted(Count *count, uint64_t transaction)
{
	*map_place(&count->aborted, transaction) = 1;
}

/* Whether there is such a party at all. */
static void
note_named(Count *count, const EntryFields *fields)
{
	Span party = count->wanted.party;
	Span detail = {fields->detail.bytes, fields->detail.length};

	if (fields->event == ENTRY_SESSION)
		count->named = fields->party.length == party.length &&
					   memcmp(fields->party.bytes, party.bytes, party.length) == 0;
	else if (fields->event == ENTRY_POLICY_CHANGED &&
			 member_string(detail, "party", &count->scratch))
		count->named = count->scratch.length == party.length &&
					   memcmp(count->scratch.bytes, party.bytes, party.length) == 0;
}

/* Which entries the ledger itself says that the server has let go of. */
static void
note_detached(Count *count, uint64_t sequence, const EntryFields *fields)
{
	Span detail = {fields->detail.bytes, fields->detail.length};
	uint64_t first;
	uint64_t size;

	if (!member_string(detail, "action", &count->scratch) ||
		strcmp((const char *) count->scratch.bytes, "detach") != 0 ||
		!member_number(detail, "first", &first) || !member_number(detail, "size", &size))
		return;
	if (first + size > count->detached && first + size <= sequence)
		count->detached = first + size;
	count->doubtful += sequence >= count->wanted.in_doubt;
}

/* The first reading: the party's images, and the transactions that came to nothing. */
static ToolExit
find_entry(void *context, uint64_t sequence, const EntryFields *fields, const uint8_t *entry,
		   size_t length)
{
	Count *count = context;
	PrintOrigin origin;

	resolve_learn(count->resolver, sequence, fields, entry, length);
	count->forked |= fields->event == ENTRY_FORKED;
	if (sequence < count->wanted.begin)
		return TOOL_VERIFIED;
	if (!count->named)
		note_named(count, fields);
	if (fields->event == ENTRY_POLICY_CHANGED)
		note_detached(count, sequence, fields);
	if (fields->event == ENTRY_ABORTED && fields->transaction != 0)
	{
		note_aborted(count, fields->transaction);
		count->doubtful += sequence >= count->wanted.in_doubt;
		return TOOL_VERIFIED;
	}
	if (!is_disclosure(fields) || fields->image_id == NULL || !is_in_period(count, fields))
		return TOOL_VERIFIED;
	resolve_entry(count->resolver, fields, &origin);
	if (!is_of_party(count, &origin))
		return TOOL_VERIFIED;
	count->doubtful += sequence >= count->wanted.in_doubt;
	(void) texts_add(&count->image_ids, (const char *) fields->image_id, ENTRY_IMAGE_ID_SIZE);
	return TOOL_VERIFIED;
}

/* Hands an entry to whoever writes it down. */
static ToolExit
tell_event(Count *count, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin)
{
	if (count->on_event == NULL || count->on_event(count->context, sequence, fields, origin))
		return TOOL_VERIFIED;
	return report_problem(TOOL_INPUT, "the events cannot be written");
}

static uint32_t
find_image(const Count *count, const uint8_t *image_id)
{
	if (image_id == NULL)
		return 0;
	return texts_find(&count->image_ids, (const char *) image_id, ENTRY_IMAGE_ID_SIZE);
}

/* An entry that may be a disclosure of the party's. */
static ToolExit
take_disclosure(Count *count, uint64_t sequence, const EntryFields *fields)
{
	uint32_t image = find_image(count, fields->image_id);
	PrintOrigin origin;

	if (image == 0 || !is_in_period(count, fields))
		return TOOL_VERIFIED;
	resolve_entry(count->resolver, fields, &origin);
	if (!is_of_party(count, &origin))
		return TOOL_VERIFIED;
	count_disclosure(count, sequence, fields, &origin, image - 1);
	return tell_event(count, sequence, fields, &origin);
}

/* An entry of a session of the party's, other than a disclosure, in the period. */
static ToolExit
take_other(Count *count, uint64_t sequence, const EntryFields *fields)
{
	PrintOrigin origin;

	if (!is_in_period(count, fields))
		return TOOL_VERIFIED;
	resolve_entry(count->resolver, fields, &origin);
	if (!is_of_party(count, &origin))
		return TOOL_VERIFIED;
	if (fields->event == ENTRY_EXPORTED_SEALED)
		count->exports++;
	if (fields->event == ENTRY_REPLICATION)
		count->replication++;
	if (fields->event != ENTRY_REFUSED)
		return count_beside(count, sequence, fields);
	count->refused++;
	count_day(count, fields->at)->refusals++;
	(void) count_beside(count, sequence, fields);
	return tell_event(count, sequence, fields, &origin);
}

/* The second reading: the rows of these images, and what was collected of them. */
static ToolExit
find_row(void *context, uint64_t sequence, const EntryFields *fields, const uint8_t *entry,
		 size_t length)
{
	Count *count = context;
	bool erased = fields->event == ENTRY_ERASED || fields->event == ENTRY_PURGED;
	PrintOrigin origin;
	uint32_t in;
	uint32_t out;

	resolve_learn(count->resolver, sequence, fields, entry, length);
	/* an image that was sealed again is where it was */
	if (sequence < count->wanted.begin || fields->operation == OPERATION_RESEAL ||
		(fields->event != ENTRY_STORED && fields->event != ENTRY_REPLACED && !erased))
		return TOOL_VERIFIED;
	in = erased ? 0 : find_image(count, fields->image_id);
	out = find_image(count, erased ? fields->image_id : fields->old_image_id);
	/* rows that no key tells from others: some of them may hold it still */
	if (out == in || fields->row_key.bytes == NULL)
		out = 0;
	if ((in == 0 && out == 0) ||
		(fields->transaction != 0 && map_find(&count->aborted, fields->transaction) != 0))
		return TOOL_VERIFIED;
	count->doubtful += sequence >= count->wanted.in_doubt;
	resolve_entry(count->resolver, fields, &origin);
	if (in != 0)
		count_change(count, sequence, fields, &origin, in - 1, true);
	if (out != 0)
		count_change(count, sequence, fields, &origin, out - 1, false);
	return TOOL_VERIFIED;
}

/* The third reading: everything else. */
static ToolExit
count_entry(void *context, uint64_t sequence, const EntryFields *fields, const uint8_t *entry,
			size_t length)
{
	Count *count = context;

	resolve_learn(count->resolver, sequence, fields, entry, length);
	count->forked |= fields->event == ENTRY_FORKED;
	if (sequence < count->wanted.begin)
		return TOOL_VERIFIED;
	switch (fields->event)
	{
		case ENTRY_DISCLOSED:
		case ENTRY_OBSERVED:
			return take_disclosure(count, sequence, fields);
		case ENTRY_REFUSED:
		case ENTRY_EXPORTED_SEALED:
		case ENTRY_REPLICATION:
			return take_other(count, sequence, fields);
		case ENTRY_POLICY_CHANGED:
		case ENTRY_INCIDENT:
			return count_beside(count, sequence, fields);
		default:
			return TOOL_VERIFIED;
	}
}

/* Where to begin, as biometric-verify does. */
static ToolExit
choose_start(Count *count, Archive *archive, uint64_t size)
{
	uint64_t from = count->wanted.pruned && archive->minimum <= size ? archive->minimum : 0;

	if (from < archive->minimum && !archive_has_bundle(archive, size, from))
		return report_problem(TOOL_FAILED,
							  "entry %" PRIu64 " is missing: the archive says that it begins at "
							  "entry %" PRIu64 ". If you know that those before are kept "
							  "elsewhere, --pruned counts what is here",
							  from, archive->minimum);
	count->from = from / TLOG_TILE_WIDTH * TLOG_TILE_WIDTH;
	return TOOL_VERIFIED;
}

/* Reads the archive once; all that the sink was given is right when this succeeds. */
static ToolExit
read_once(Count *count, Archive *archive, const Head *head, WalkSink sink)
{
	static Walk walk;
	MerkleHash root;
	ToolExit code = TOOL_VERIFIED;

	memset(&walk, 0, sizeof(walk));
	walk.archive = archive;
	walk.size = walk.to = head->checkpoint.size;
	walk.root = &head->checkpoint.root;
	walk.from = count->from;
	walk.sink = sink;
	walk.context = count;
	if (walk.from > 0)
		code = tree_prefix(archive, walk.from, walk.size, &walk.peaks, NULL);
	if (code == TOOL_VERIFIED)
		code = walk_prepare(&walk);
	if (code == TOOL_VERIFIED)
		code = walk_run(&walk);
	walk_free(&walk);
	if (code != TOOL_VERIFIED)
		return code;
	peaks_root(&walk.peaks, &root);
	if (memcmp(&root, &head->checkpoint.root, sizeof(root)) == 0)
		return TOOL_VERIFIED;
	return report_problem(TOOL_FAILED, "the entries have another root than the checkpoint says");
}

ToolExit
count_run(Count *count, Archive *archive, const Head *head)
{
	ToolExit code = choose_start(count, archive, head->checkpoint.size);

	count->named = count->wanted.party.length == 0;
	count->resolver = calloc(1, sizeof(Resolver));
	if (count->resolver == NULL)
		return report_problem(TOOL_INPUT, "out of memory");
	count->resolver->archive = archive;
	count->resolver->size = head->checkpoint.size;
	if (code == TOOL_VERIFIED)
		code = read_once(count, archive, head, find_entry);
	count->images = list_grow(NULL, 0, &count->images_capacity, sizeof(CountedImage));
	while (count->images_capacity < count->image_ids.count)
		count->images = list_grow(count->images, count->images_capacity, &count->images_capacity,
								  sizeof(CountedImage));
	(void) figures_get(&count->figures, DIMENSION_TOTAL, 0);
	if (code == TOOL_VERIFIED)
		code = read_once(count, archive, head, find_row);
	if (code == TOOL_VERIFIED)
		code = read_once(count, archive, head, count_entry);
	return code;
}

void
count_free(Count *count)
{
	if (count->resolver != NULL)
		resolve_free(count->resolver);
	free(count->resolver);
	figures_free(&count->figures);
	declared_free(&count->declared);
	texts_free(&count->image_ids);
	free(count->images);
	free(count->rows);
	free(count->subjects);
	free(count->holdings);
	free(count->changes);
	free(count->held);
	free(count->affected);
	free(count->people);
	free(count->people_row);
	free(count->days);
	free(count->refusals);
	free(count->notables);
	free(count->scratch.bytes);
	free(count->collected.bytes);
	map_free(&count->row_index);
	map_free(&count->subject_index);
	map_free(&count->seen);
	map_free(&count->aborted);
	map_free(&count->affected_index);
	map_free(&count->people_index);
	map_free(&count->people_images);
	map_free(&count->people_rows);
	map_free(&count->day_index);
	map_free(&count->refusal_index);
	map_free(&count->own_permits);
	memset(count, 0, sizeof(*count));
}
