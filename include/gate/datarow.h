/*
 * datarow.h - writes DataRow messages, decrypting images straight into them.
 *
 * User code (output functions) runs only while no plaintext is in the
 * buffer; the buffer is wiped after each message and when its memory context
 * goes away. Protocol 3.0, section "DataRow".
 */
#ifndef BIOMETRIC_GATE_DATAROW_H
#define BIOMETRIC_GATE_DATAROW_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "lib/stringinfo.h"

#include "core/envelope.h"

/* An image, or a bytea that the cast made of one, held by the gate. */
typedef struct GateImage
{
	int column;				  /* 0-based */
	bool open;				  /* its plaintext is to be sent */
	bool outside;			  /* it is not opened only because it came in sealed from outside */
	bool expired;			  /* it is not opened only because its retention period is over */
	bool authentic;			  /* its key is at hand, and has authenticated its header */
	bool mark;				  /* it is to be sent with a mark: open, and a JPEG or PNG file */
	int64 sequence;			  /* of its disclosure in the ledger, once that is durable; if mark */
	int64 at;				  /* the time of its disclosure, as the entry has it; if mark */
	uint32 generation;		  /* of the ticket that this is from: which log it is; if mark */
	struct varlena *envelope; /* owned copy, 4-byte header, not compressed */
	EnvelopeHeader header;	  /* of it */
} GateImage;

typedef struct DataRowWriter DataRowWriter;

/*
 * datarow_create makes a writer for rows of a descriptor, in the current
 * memory context. formats: a code (0 text, 1 binary) a column, or NULL for
 * text. Errors as printtup's: a type without the function that is needed.
 */
extern DataRowWriter *datarow_create(TupleDesc descriptor, const int16 *formats);

/*
 * datarow_write sends one row. images: the row's images in ascending column
 * order; their columns in slot are ignored. An image that is to be opened is
 * decrypted and authenticated before the message ends; the others go out as
 * their type's output function has them.
 * An image that is to be marked gets its mark (core/mark.h) on the way.
 * Errors: XX001 when an image does not authenticate, CONFIG_FILE_ERROR when
 * its key went away, 22023 when a file has no place for its mark, 55000 when the
 * ledger was replaced since; the row is then not sent.
 */
extern void datarow_write(DataRowWriter *writer, TupleTableSlot *slot, const GateImage *images,
						  int count);

#endif
