/*
 * entry.h - the canonical bytes of a ledger entry.
 *
 *   offset size
 *        0    1  version, 1
 *        1    1  event                (EntryEvent)
 *        2    8  time, microseconds since 1970-01-01 UTC, signed
 *       10    8  reference: sequence number of the statement entry (of an
 *                image entry) or session entry (of any other); all ones: none
 *       18       fields: tag (1), length (LEB128, shortest form), value; tags
 *                strictly ascending, each at most once
 *
 * Exactly one encoding exists for given contents: entry_decode refuses
 * everything else, so decode(encode(x)) = x and encode(decode(b)) = b.
 * Integers inside fields are big-endian without leading zero bytes. An entry is
 * at most ENTRY_MAX_SIZE bytes.
 *
 * Texts are UTF-8 without NUL, whatever the encoding of the database. A byte that
 * the database's encoding does not allow where it stands, or that is of a character
 * which UTF-8 does not have, is written as \xNN, in two upper-case hexadecimal
 * digits; inside a JSON object as \\xNN, which is the JSON of the same. A backslash is
 * not doubled elsewhere: that a text holds "\xFC" does not prove that a byte was
 * written so. Whoever writes entries sees to all that (ledger/encoding.h); entry_encode and
 * entry_decode look for NUL only, and readers must expect any bytes.
 */
#ifndef BIOMETRIC_CORE_ENTRY_H
#define BIOMETRIC_CORE_ENTRY_H

#include "core/kinds.h"
#include "core/status.h"

#define ENTRY_VERSION 1
#define ENTRY_REFERENCE_OFFSET 10
#define ENTRY_FIXED_SIZE 18
#define ENTRY_MAX_SIZE 65535
#define ENTRY_NO_REFERENCE (-1)
#define ENTRY_IMAGE_ID_SIZE 16
#define ENTRY_DIGEST_SIZE 32
#define ENTRY_HASH_SIZE 32

/* Codes are stored: append, never renumber. */
typedef enum EntryEvent
{
	ENTRY_SESSION = 1,
	ENTRY_STATEMENT = 2,
	ENTRY_DISCLOSED = 3,
	ENTRY_OBSERVED = 4,
	ENTRY_EXPORTED_SEALED = 5,
	ENTRY_REFUSED = 6,
	ENTRY_STORED = 7,
	ENTRY_REPLACED = 8,
	ENTRY_ERASED = 9,
	ENTRY_TRUNCATED = 10,
	ENTRY_DROPPED = 11,
	ENTRY_ABORTED = 12,
	ENTRY_POLICY_CHANGED = 13,
	ENTRY_KEY_CHANGED = 14,
	ENTRY_PURGED = 15,
	ENTRY_DDL_REFUSED = 16,
	ENTRY_REPLICATION = 17,
	ENTRY_FORKED = 18,
	ENTRY_INCIDENT = 19
} EntryEvent;

#define ENTRY_EVENT_LAST ENTRY_INCIDENT

/* Why a delivery is what it is. Codes are stored: append, never renumber. */
typedef enum Reason
{
	REASON_NONE = 0,
	REASON_PERMITTED = 1, /* a permit says so, whatever the delivery */
	REASON_LEDGER_UNAVAILABLE = 2,
	REASON_KEY_UNAVAILABLE = 3,
	REASON_STANDBY = 4,
	REASON_NO_CLIENT = 5, /* a backend without a client: sealed */
	REASON_UNREGISTERED_NETWORK = 6,
	REASON_CONTRACT_EXPIRED = 7,
	REASON_QUARANTINED = 8,
	REASON_NO_PERMIT = 9,
	REASON_REFUSED_BY_PERMIT = 10,
	REASON_TLS_REQUIRED = 11,
	REASON_PURPOSE_MISSING = 12,
	REASON_PURPOSE_NOT_PERMITTED = 13,
	REASON_QUOTA_EXCEEDED = 14,
	REASON_RETENTION_EXPIRED = 15,
	REASON_IMPORTED = 16
} Reason;

#define REASON_LAST REASON_IMPORTED

/* What changed an image. Codes are stored: append, never renumber. */
typedef enum EntryOperation
{
	OPERATION_NONE = 0,
	OPERATION_INSERT = 1,
	OPERATION_UPDATE = 2,
	OPERATION_DELETE = 3,
	OPERATION_TRUNCATE = 4,
	OPERATION_CREATE = 5, /* CREATE TABLE AS, SELECT INTO, REFRESH, a rewrite by ALTER TABLE */
	OPERATION_DROP = 6,
	OPERATION_ADOPT = 7,
	OPERATION_DESCRIBE = 8, /* what was stored earlier is put on record by describe_collection() */
	OPERATION_RESEAL = 9 /* the same image under another key: image_id and old_image_id are one */
} EntryOperation;

#define OPERATION_LAST OPERATION_RESEAL

/* A borrowed, not NUL-terminated text; bytes NULL: the field is absent. */
typedef struct EntryText
{
	const char *bytes;
	size_t length;
} EntryText;

/* Everything an entry can say. Zero-initialise, then set what applies. */
typedef struct EntryFields
{
	EntryEvent event;
	int64_t at;							 /* microseconds since 1970-01-01 UTC */
	int64_t reference;					 /* ENTRY_NO_REFERENCE when there is none */
	/* tag 1 */ const uint8_t *image_id; /* ENTRY_IMAGE_ID_SIZE bytes, or NULL */
	/* tag 2 */ ImageKind kind;			 /* IMAGE_KIND_NONE: absent */
	/* tag 3 */ uint32_t relation_index; /* 1-based into the statement's relations; 0: absent */
	/* tag 4 */ uint64_t permit;		 /* permit id; 0: absent */
	/* tag 5 */ Reason reason;			 /* REASON_NONE: absent */
	/* tag 6 */ EntryText party;
	/* tag 7 */ EntryText network;	   /* the matched CIDR, or "local" */
	/* tag 8 */ EntryText client_addr; /* textual address, or "local" */
	/* tag 9 */ EntryText session_user_name;
	/* tag 10 */ EntryText current_user_name;
	/* tag 11 */ EntryText application;
	/* tag 12 */ EntryText purpose;
	/* tag 13 */ EntryText command;	  /* command tag: "SELECT" */
	/* tag 14 */ uint64_t query_id;	  /* 0: absent */
	/* tag 15 */ EntryText relations; /* qualified names, one a line: "public.lane" */
	/* tag 16 */ EntryText detail;	  /* a JSON object, whatever else the event has to say */
	/* tag 17 */ uint64_t process;	  /* server process id; 0: absent */
	/* tag 18 */ EntryText database;
	/* tag 19 */ uint64_t tls;		 /* 1: the connection is encrypted by TLS; 0: absent */
	/* tag 20 */ EntryText relation; /* qualified name, for entries without a statement's list */
	/* tag 21 */ EntryOperation operation;	  /* OPERATION_NONE: absent */
	/* tag 22 */ const uint8_t *old_image_id; /* ENTRY_IMAGE_ID_SIZE bytes, or NULL */
	/* tag 23 */ EntryText column;
	/* tag 24 */ EntryText row_key;		/* a JSON object */
	/* tag 25 */ uint64_t transaction;	/* full transaction id; 0: absent */
	/* tag 26 */ uint64_t relation_oid; /* an OID; 0: absent */
	/* tag 27 */ EntryText collected; /* a JSON object: subject, place and time of a row's image */
	/* tag 28 */ const uint8_t *digest; /* ENTRY_DIGEST_SIZE bytes, as in the envelope, or NULL */
	/* tag 29 */ uint64_t key;			/* id of the key that digest and picture_hash belong to */
	/* tag 30 */ const uint8_t *picture_hash; /* ENTRY_HASH_SIZE bytes, blinded, or NULL */
	/* tag 31 */ uint64_t marked;			  /* 1: the image left with a mark; 0: absent */
} EntryFields;

/*
 * entry_encode writes the canonical bytes.
 * out, capacity: bytes. length: set on CORE_OK, else 0.
 * Returns CORE_OK, CORE_TOO_SMALL (also beyond ENTRY_MAX_SIZE) or
 * CORE_MALFORMED (unknown event, kind, reason or operation; NUL in a text).
 */
extern CORE_MUST_CHECK CoreStatus entry_encode(const EntryFields *fields, uint8_t *out,
											   size_t capacity, size_t *length);

/*
 * An EntryTextMap makes a text of another one; json: it is a JSON object.
 * entry_map_texts replaces every text that is there by what a map makes of it.
 */
typedef EntryText (*EntryTextMap)(EntryText text, bool json, void *context);
extern void entry_map_texts(EntryFields *fields, EntryTextMap map, void *context);

/*
 * entry_decode reads canonical bytes; the texts and the image ids point into
 * them. fields is zeroed on failure. Returns CORE_OK, CORE_TRUNCATED,
 * CORE_BAD_VERSION or CORE_MALFORMED.
 */
extern CORE_MUST_CHECK CoreStatus entry_decode(const uint8_t *bytes, size_t length,
											   EntryFields *fields);

/* entry_set_reference patches the reference of encoded bytes, before they are hashed. */
extern void entry_set_reference(uint8_t *bytes, int64_t reference);

/* entry_event_name returns "disclosed" and so on, or NULL for a code that is none. */
extern const char *entry_event_name(int event);

/* operation_name returns "insert" and so on, or NULL for a code that is none. */
extern const char *operation_name(int operation);

/* reason_name returns "no_permit" and so on, or NULL for a code that is none. */
extern const char *reason_name(int reason);

#endif
