/*
 * blob.h - the bytes of a published policy.
 *
 *   u32 magic   u32 database OID
 *   u32 parties   each: text name, i64 from, i64 until, u8 quarantined
 *   u32 networks  longest prefix first, each: u8 family (4, 6; 0: unix
 *                 sockets), u8 prefix bits, 16 bytes, u32 party (0-based),
 *                 text as shown
 *   u32 permits   each: u32 party, i64 id, u32 kinds (bit 1 << kind), u8
 *                 delivery, u32 relation OID (0: any), i64 from, i64 until,
 *                 u8 require TLS, u8 mark, i64 quota (0: none), u32 its
 *                 counter, i32 purposes (-1: any), that many texts
 *
 * Integers in host order: written and read by processes of one server. Times
 * are TimestampTz, from inclusive, until exclusive. A text is its length
 * (u32) and its bytes.
 */
#ifndef BIOMETRIC_POLICY_BLOB_H
#define BIOMETRIC_POLICY_BLOB_H

#include "postgres.h"

#include "lib/stringinfo.h"

#define BLOB_MAGIC 0x62706f32

/* A reader never leaves its bytes: at their end it answers 0 and is broken. */
typedef struct BlobReader
{
	const char *at;
	const char *end;
	bool broken;
} BlobReader;

/* blob_put_u8, _u32, _i64 and _text append one value; text: NUL-terminated. */
extern void blob_put_u8(StringInfo blob, uint8 value);
extern void blob_put_u32(StringInfo blob, uint32 value);
extern void blob_put_i64(StringInfo blob, int64 value);
extern void blob_put_text(StringInfo blob, const char *text);

/* blob_patch_u32 overwrites four bytes written earlier at offset. */
extern void blob_patch_u32(StringInfo blob, int offset, uint32 value);

/* blob_get_u8, _u32 and _i64 take the next value; 0 when broken. */
extern uint8 blob_get_u8(BlobReader *reader);
extern uint32 blob_get_u32(BlobReader *reader);
extern int64 blob_get_i64(BlobReader *reader);

/* blob_get_bytes copies length bytes, zeroes when there are not so many. */
extern void blob_get_bytes(BlobReader *reader, void *out, Size length);

/* blob_get_text returns a copy in the current memory context, "" when broken. */
extern char *blob_get_text(BlobReader *reader);

/* blob_skip_text passes over a text; blob_text_is tells, doing so, whether it is a certain one. */
extern void blob_skip_text(BlobReader *reader);
extern bool blob_text_is(BlobReader *reader, const char *text);

/*
 * blob_get_count reads a number of records of at least minimum bytes each; a
 * number that the bytes left cannot hold breaks the reader and is 0.
 */
extern uint32 blob_get_count(BlobReader *reader, Size minimum);

#endif
