/*
 * member.h - what JSON texts in entries say, without building trees of them.
 *
 * A text that is not valid JSON has no members. Nothing is allocated but what
 * buffers need.
 */
#ifndef BIOMETRIC_REPORTER_MEMBER_H
#define BIOMETRIC_REPORTER_MEMBER_H

#include "reporter/table.h"
#include "tool/file.h"

/*
 * member_find finds a member of a JSON object by its name, which must need no
 * escapes. value: its text, borrowed. False when there is none, or it is null.
 */
extern bool member_find(Span object, const char *name, Span *value);

/*
 * member_next takes the members of an object one after another: *at is 0 at
 * first. name: without its quotes, as written. False at the end.
 */
extern bool member_next(Span object, size_t *at, Span *name, Span *value);

/*
 * member_text writes a JSON string's characters, or any other value's text as it
 * is, with a NUL behind it that is not counted. A NUL in the string becomes U+FFFD.
 */
extern void member_text(Span value, Buffer *text);

/* member_string finds a member and writes its text. */
extern bool member_string(Span object, const char *name, Buffer *text);

/* member_number finds a member that is a whole number of at most 18 digits. */
extern bool member_number(Span object, const char *name, uint64_t *number);

/*
 * member_items takes the items of a JSON array one after another, as member_next takes
 * members.
 */
extern bool member_items(Span array, size_t *at, Span *value);

/*
 * member_plain writes a JSON value the way the server prints jsonb: one blank behind
 * each colon and comma, none elsewhere; members stay in their order.
 */
extern void member_plain(Span value, Buffer *text);

/*
 * member_sorted is member_plain with the members of the outermost object in the order
 * of jsonb: shorter names first, then by their bytes.
 */
extern void member_sorted(Span value, Buffer *text);

#endif
