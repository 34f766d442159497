/*
 * datarow.c - the writer of DataRow messages.
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/libpq.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "tcop/tcopprot.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "core/mark.h"
#include "gate/datarow.h"
#include "keyring/keyring.h"
#include "ledger/append.h"

/* Type byte and length word, which a message begins with. */
#define DATAROW_HEAD 5

/* A message that would fill the server's send buffer (8 kB) anyway goes past it. */
#define DATAROW_DIRECT 8192

typedef struct DataRowColumn
{
	bool binary;
	FmgrInfo output;
} DataRowColumn;

/* A value as it will stand in the message; length -1 for NULL. */
typedef struct DataRowField
{
	const char *bytes;
	int32 length;
	const GateImage *image; /* to be opened into the message, else NULL */
} DataRowField;

struct DataRowWriter
{
	TupleDesc descriptor;
	DataRowColumn *columns;
	DataRowField *fields;
	MemoryContext row_context; /* reset after each row */
	StringInfoData buffer;
	MemoryContextCallback wipe;
};

/* Errors and cancels leave by a reset of the context: the buffer must not stay behind. */
static void
datarow_wipe(void *arg)
{
	DataRowWriter *writer = arg;

	core_wipe(writer->buffer.data, writer->buffer.maxlen);
}

static void
datarow_prepare_column(DataRowColumn *column, Oid type, int16 format)
{
	Oid function;
	bool is_varlena;

	if (format == 0)
		getTypeOutputInfo(type, &function, &is_varlena);
	else if (format == 1)
		getTypeBinaryOutputInfo(type, &function, &is_varlena);
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unsupported format code: %d", format)));
	column->binary = format == 1;
	fmgr_info(function, &column->output);
}

DataRowWriter *
datarow_create(TupleDesc descriptor, const int16 *formats)
{
	DataRowWriter *writer = palloc0(sizeof(DataRowWriter));

	writer->descriptor = descriptor;
	writer->columns = palloc0_array(DataRowColumn, descriptor->natts);
	writer->fields = palloc0_array(DataRowField, descriptor->natts);
	for (int i = 0; i < descriptor->natts; i++)
		datarow_prepare_column(&writer->columns[i], TupleDescAttr(descriptor, i)->atttypid,
							   formats ? formats[i] : 0);
	writer->row_context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric data row", ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&writer->buffer);
	writer->wipe.func = datarow_wipe;
	writer->wipe.arg = writer;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &writer->wipe);
	return writer;
}

/* Fills a field by its type's output or send function. */
static void
datarow_output(DataRowColumn *column, Datum value, DataRowField *field)
{
	if (column->binary)
	{
		bytea *sent = SendFunctionCall(&column->output, value);

		field->bytes = VARDATA(sent);
		field->length = VARSIZE(sent) - VARHDRSZ;
	}
	else
	{
		char *text = OutputFunctionCall(&column->output, value);

		field->bytes = pg_server_to_client(text, strlen(text));
		field->length = strlen(field->bytes);
	}
}

/* The bytes that are sent of an opened image: its file, with its mark if it gets one. */
static Size
datarow_file_length(const GateImage *image)
{
	return image->header.plaintext_length + (image->mark ? mark_overhead(image->header.format) : 0);
}

/* The length that an opened image has in the message, in bytes. */
static int32
datarow_image_length(const DataRowColumn *column, const GateImage *image)
{
	Size length = datarow_file_length(image);

	return (int32) (column->binary ? length : 2 + 2 * length);
}

/* Fills the fields; all user code that a row needs runs here. Returns the message's length. */
static Size
datarow_prepare_row(DataRowWriter *writer, TupleTableSlot *slot, const GateImage *images, int count)
{
	Size total = sizeof(int16);

	for (int i = 0; i < writer->descriptor->natts; i++)
	{
		DataRowColumn *column = &writer->columns[i];
		DataRowField *field = &writer->fields[i];

		memset(field, 0, sizeof(*field));
		if (count > 0 && images->column == i)
		{
			if (images->open)
			{
				field->image = images;
				field->length = datarow_image_length(column, images);
			}
			else
				datarow_output(column, PointerGetDatum(images->envelope), field);
			images++;
			count--;
		}
		else if (slot->tts_isnull[i])
			field->length = -1;
		else
			datarow_output(column, slot->tts_values[i], field);
		total += sizeof(int32) + (field->length > 0 ? field->length : 0);
	}
	return total;
}

/* Writes 2 * length hex digits over a region whose second half holds the bytes. */
static void
datarow_hex_in_place(char *region, Size length)
{
	static const char digits[] = "0123456789abcdef";
	const uint8 *from = (const uint8 *) region + length;

	/* the writing end never overtakes the reading end: 2i + 1 <= length + i for i < length */
	for (Size i = 0; i < length; i++)
	{
		uint8 byte = from[i];

		region[2 * i] = digits[byte >> 4];
		region[2 * i + 1] = digits[byte & 15];
	}
}

/* The mark of an image: names the entry of its disclosure, in the log that took it. */
static Mark
datarow_mark(const SealKey *key, const GateImage *image)
{
	uint8 log_id[MARK_LOG_ID_SIZE];
	Mark mark;

	if (!ledger_generation_log(image->generation, log_id))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger was replaced while images were being released"),
						errdetail("A mark names a disclosure and its log. Nothing of the image's "
								  "row was sent."),
						errhint("Run the statement again.")));
	if (mark_make(key, log_id, image->sequence, image->at, image->header.image_id, &mark) !=
		CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not make a mark"),
						errhint("See whether the server's OpenSSL works.")));
	return mark;
}

/* Puts the mark into a file that lies behind the room for it; on failure nothing is left of it. */
static void
datarow_insert_mark(StringInfo buffer, const GateImage *image, const Mark *mark, uint8 *file)
{
	ImageFormat format = image->header.format;

	if (mark_insert(format, file, image->header.plaintext_length, mark) == CORE_OK)
		return;
	core_wipe(buffer->data, buffer->maxlen);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("an image of format \"%s\" cannot be marked", image_format_name(format)),
			 errdetail("The permit asks for marked release, and the file has no place for a mark. "
					   "Nothing of its row was sent."),
			 errhint("Leave the image out, or have a custodian authorize release without marks.")));
}

/* Decrypts an image to the end of the buffer, which has room. */
static void
datarow_open(StringInfo buffer, const DataRowColumn *column, const GateImage *image)
{
	Size length = datarow_file_length(image);
	char *end = buffer->data + buffer->len;
	uint8 *file = (uint8 *) (column->binary ? end : end + 2 + length);
	const SealKey *key = keyring_find(image->header.key_id);
	CoreStatus status;
	Mark mark;

	if (key == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("key %u went away while images were being released", image->header.key_id),
			 errhint("Run the statement again: an image whose key was shredded stays sealed then; "
					 "a key that is missing must be brought back into the keyring.")));
	/* what can fail for other reasons goes before there is plaintext */
	if (image->mark)
		mark = datarow_mark(key, image);
	status = seal_open(key, (const uint8 *) VARDATA(image->envelope), &image->header,
					   file + length - image->header.plaintext_length);
	if (status != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a sealed image cannot be opened: %s", core_status_text(status)),
						errdetail("Nothing of its row was sent."),
						errhint("Restore the row from a backup; the image's bytes were changed "
								"after it was sealed.")));
	if (image->mark)
		datarow_insert_mark(buffer, image, &mark, file);
	if (!column->binary)
	{
		end[0] = '\\';
		end[1] = 'x';
		datarow_hex_in_place(end + 2, length);
	}
	buffer->len += datarow_image_length(column, image);
}

/*
 * Writes bytes to the client's connection. Until all are written no message
 * may get between them, not even that of a FATAL error: the client would take
 * it for the rest of the image.
 */
static void
datarow_send_direct(char *bytes, Size length)
{
	CommandDest dest = whereToSendOutput;

	whereToSendOutput = DestNone;
	while (length > 0)
	{
		ssize_t written = secure_write(MyProcPort, bytes, length);

		if (written > 0)
		{
			bytes += written;
			length -= written;
		}
		else if (errno != EINTR)
		{
			ereport(COMMERROR, (errcode_for_socket_access(),
								errmsg("could not send an image to the client: %m")));
			/* as the server itself does: the session ends at the next opportunity */
			ClientConnectionLost = 1;
			InterruptPending = 1;
			break;
		}
	}
	whereToSendOutput = dest;
}

/*
 * Sends the message in the buffer. A long one goes out in one piece: a copy
 * through the server's buffer would cost a system call every 8 kB, which is
 * the dearest part of sending, and leave the image's end in that buffer.
 */
static void
datarow_send(StringInfo buffer)
{
	uint32 length = pg_hton32((uint32) buffer->len - 1);

	if (buffer->len < DATAROW_DIRECT)
	{
		pq_putmessage('D', buffer->data + DATAROW_HEAD, buffer->len - DATAROW_HEAD);
		return;
	}
	buffer->data[0] = 'D';
	memcpy(buffer->data + 1, &length, sizeof(length));
	/* after a failure to flush the session is about to end */
	if (pq_flush() == 0)
		datarow_send_direct(buffer->data, buffer->len);
}

void
datarow_write(DataRowWriter *writer, TupleTableSlot *slot, const GateImage *images, int count)
{
	StringInfo buffer = &writer->buffer;
	MemoryContext old = MemoryContextSwitchTo(writer->row_context);
	Size total;

	slot_getallattrs(slot);
	total = datarow_prepare_row(writer, slot, images, count);
	if (total + DATAROW_HEAD >= MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row of %zu bytes is too long for a message", total),
				 errhint("Ask for the images in binary format, or for fewer of them in a row.")));

	resetStringInfo(buffer);
	/* once for the whole message: growing later would leave plaintext in freed memory */
	enlargeStringInfo(buffer, total + DATAROW_HEAD);
	buffer->len = DATAROW_HEAD;
	pq_sendint16(buffer, writer->descriptor->natts);
	for (int i = 0; i < writer->descriptor->natts; i++)
	{
		DataRowField *field = &writer->fields[i];

		pq_sendint32(buffer, field->length);
		if (field->image)
			datarow_open(buffer, &writer->columns[i], field->image);
		else if (field->length > 0)
			appendBinaryStringInfo(buffer, field->bytes, field->length);
	}
	datarow_send(buffer);
	if (count > 0)
		core_wipe(buffer->data, buffer->len);
	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->row_context);
}
