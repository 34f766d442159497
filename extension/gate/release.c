/*
 * release.c - the release gate: a destination that lets rows with images
 * through in batches, each batch decided, then durable in the ledger, then
 * sent.
 *
 * Several batches are under way: while the worker makes the disclosures of some
 * durable, the executor fills the next. A batch is decided when it is full;
 * should the policy have changed by the time it is to be sent, it is decided
 * again, and put on record again only if the answer is another.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "base/internal.h"
#include "core/seal.h"
#include "gate/datarow.h"
#include "gate/export.h"
#include "gate/gate.h"
#include "gate/promise.h"
#include "gate/statement.h"
#include "home/home.h"
#include "home/relations.h"
#include "image/image.h"
#include "keyring/keyring.h"
#include "keys/keys.h"
#include "ledger/append.h"
#include "policy/policy.h"

/*
 * The most batches that are under way. A result set then waits for the ledger
 * once a release_batch_size or RELEASE_BATCHES batches, not once a batch.
 */
#define RELEASE_BATCHES 32

static int release_batch_rows = 16;
static int release_batch_size = 4096;

typedef struct ReleaseGate
{
	DestReceiver receiver;
	DestReceiver *client;
	PromiseGate promise; /* statement and columns */
	MemoryContext context;
	TupleDesc descriptor;
	GateImage *row_images; /* scratch: images of the row at hand */
	DataRowWriter *writer;
	TupleTableSlot *slot;
	GateBatch batches[RELEASE_BATCHES]; /* a ring: promised ones, then the one being filled */
	int oldest;							/* index of the first that is promised */
	int promised;						/* how many are appended to the ledger, but not yet sent */
	Size promised_size;					/* bytes in them */
	int rows_limit;						/* a batch's; fixed at creation, settings may change */
	Size size_limit;					/* bytes, of all batches together */
} ReleaseGate;

/* The batch that rows are put into. */
static GateBatch *
release_filling(ReleaseGate *gate)
{
	return &gate->batches[(gate->oldest + gate->promised) % RELEASE_BATCHES];
}

void
gate_define_settings(void)
{
	DefineCustomIntVariable("biometric_audit.release_batch_rows",
							"Rows that the release gate makes durable in the ledger at a time.",
							NULL, &release_batch_rows, 16, 1, 4096, PGC_SIGHUP, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("biometric_audit.release_batch_size",
							"Memory that the release gate fills with rows before it releases them.",
							NULL, &release_batch_size, 4096, 64, 1048576, PGC_SIGHUP, GUC_UNIT_KB,
							NULL, NULL, NULL);
}

bool
gate_wanted(QueryDesc *query)
{
	TupleDesc descriptor = query->tupDesc;

	if (gate_statement_current() == NULL || descriptor == NULL || !OidIsValid(extension_oid()))
		return false;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Oid type = TupleDescAttr(descriptor, i)->atttypid;

		/* built-in types are no domains and no images: spare them the look-ups */
		if (type == BYTEAOID ||
			(type >= FirstNormalObjectId &&
			 (image_type_kind(type) != IMAGE_KIND_NONE || getBaseType(type) == BYTEAOID)))
			return true;
	}
	return false;
}

/* The relation, among those that the statement reads, that a result column plainly is of. */
static const GateRelation *
release_column_relation(const GateStatement *statement, const TargetEntry *target)
{
	ListCell *cell;

	if (target == NULL || !OidIsValid(target->resorigtbl))
		return NULL;
	foreach(cell, statement->relations)
		if (((GateRelation *) lfirst(cell))->relation == target->resorigtbl)
			return lfirst(cell);
	return NULL;
}

static void
release_describe_columns(ReleaseGate *gate, List *targets)
{
	ListCell *cell = list_head(targets);

	for (int i = 0; i < gate->descriptor->natts; i++)
	{
		Oid type = TupleDescAttr(gate->descriptor, i)->atttypid;
		GateColumn *column = &gate->promise.columns[i];

		column->kind = image_type_kind(type);
		column->stampable = getBaseType(type) == BYTEAOID;
		while (cell && ((TargetEntry *) lfirst(cell))->resjunk)
			cell = lnext(targets, cell);
		column->relation =
			release_column_relation(gate->promise.statement, cell ? lfirst(cell) : NULL);
		if (cell)
			cell = lnext(targets, cell);
	}
}

/* ---- sending ---- */

static void
release_reset_batch(GateBatch *batch)
{
	MemoryContextReset(batch->context);
	batch->rows = NULL;
	batch->count = 0;
	batch->size = 0;
}

/*
 * What the cast to bytea made is sent past the output functions of the image
 * types: those announce and count what goes out sealed, here it is done for them.
 */
static void
release_account(const ReleaseGate *gate, const GateRow *row)
{
	for (int i = 0; i < row->count; i++)
	{
		if (row->images[i].outside)
			export_outside();
		if (row->images[i].expired)
			export_expired();
		if (gate->promise.columns[row->images[i].column].kind != IMAGE_KIND_NONE)
			continue;
		if (row->images[i].open)
			export_opened(VARSIZE(row->images[i].envelope) - VARHDRSZ);
		else
			export_announce();
	}
}

/* Sends a batch that was promised, as far as a quota allows; then raises. */
static void
release_send(ReleaseGate *gate, GateBatch *batch)
{
	/* asked again after the wait: the policy may have been changed during it */
	do
	{
		if (!promise_is_current(batch))
			promise_renew(&gate->promise, batch);
		ledger_wait(&batch->ticket);
	} while (!promise_is_current(batch));
	for (int r = 0; r < batch->sendable; r++)
	{
		GateRow *row = &batch->rows[r];

		CHECK_FOR_INTERRUPTS();
		release_account(gate, row);
		ExecStoreMinimalTuple(row->others, gate->slot, false);
		datarow_write(gate->writer, gate->slot, row->images, row->count);
	}
	ExecClearTuple(gate->slot);
	if (batch->sendable < batch->count)
		promise_refuse_rest(batch);
	release_reset_batch(batch);
}

/* Sends the oldest of the promised batches. */
static void
release_send_oldest(ReleaseGate *gate)
{
	GateBatch *batch = &gate->batches[gate->oldest];
	Size size = batch->size;

	release_send(gate, batch);
	gate->oldest = (gate->oldest + 1) % RELEASE_BATCHES;
	gate->promised--;
	gate->promised_size -= size;
}

/*
 * Promises the batch that is full, and sends those that have become durable.
 * Waits for the ledger only when there is no room for more.
 */
static void
release_turn(ReleaseGate *gate)
{
	GateBatch *full = release_filling(gate);
	bool ends;

	if (full->count == 0)
		return;
	promise_make(&gate->promise, full);
	gate->promised++;
	gate->promised_size += full->size;
	/* what goes over a quota is refused when all that goes before it is sent */
	ends = full->sendable < full->count;
	while (gate->promised > 0 &&
		   (gate->promised == RELEASE_BATCHES || gate->promised_size >= gate->size_limit || ends ||
			ledger_durable(&gate->batches[gate->oldest].ticket)))
		release_send_oldest(gate);
}

/* ---- receiving ---- */

/* A copy of an image's envelope in the current context: plain, with a 4-byte header. */
static struct varlena *
release_copy_envelope(Datum value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	struct varlena *whole = detoast_attr(stored);
	struct varlena *copy;

	if (whole != stored && VARATT_IS_4B_U(whole))
		return whole;
	copy = palloc(VARSIZE_ANY_EXHDR(whole) + VARHDRSZ);
	SET_VARSIZE(copy, VARSIZE_ANY_EXHDR(whole) + VARHDRSZ);
	memcpy(VARDATA(copy), VARDATA_ANY(whole), VARSIZE_ANY_EXHDR(whole));
	return copy;
}

/*
 * Whether a key was shredded: what is under it stays sealed for ever, and must not make reads of
 * everything beside it fail. Says so once a session.
 */
static bool
release_is_shredded(uint32 key_id)
{
	static bool told = false;

	if (!keys_is_shredded(key_id))
		return false;
	if (!told)
		ereport(NOTICE, (errmsg("some images stay sealed: their keys were shredded"),
						 errdetail("Key %u is one of them.", key_id),
						 errhint("Nothing can open them any more; leave them out.")));
	told = true;
	return true;
}

/* A sealed value whose key is not at hand may go out sealed, but is not opened. */
static void
release_miss_key(const ReleaseGate *gate, const GateImage *image)
{
	GateSubject subject;
	GateVerdict verdict;

	/* what was imported need not open: it must not be able to make others' reads fail */
	if ((image->header.flags & ENVELOPE_FLAG_IMPORTED) != 0 ||
		release_is_shredded(image->header.key_id))
		return;
	subject = promise_subject(&gate->promise, image);
	verdict = gate_statement_judge(gate->promise.statement, &subject);
	if (verdict.decision.delivery == DELIVERY_SEALED)
		return;
	verdict.decision.delivery = DELIVERY_REFUSE;
	verdict.decision.reason = REASON_KEY_UNAVAILABLE;
	verdict.decision.key = image->header.key_id;
	gate_statement_describe(gate->promise.statement, &verdict.decision);
	policy_refuse(&verdict.decision, subject.kind, verdict.relation ? verdict.relation->name : NULL,
				  gate_command());
}

/* Parses the header of an image, and authenticates it if its key is at hand. */
static void
release_examine(const ReleaseGate *gate, GateImage *image, ImageKind expected)
{
	const uint8 *bytes = (const uint8 *) VARDATA(image->envelope);
	Size length = VARSIZE(image->envelope) - VARHDRSZ;
	const SealKey *key;
	CoreStatus status = envelope_parse(bytes, length, length, &image->header);

	if (status == CORE_OK && expected != IMAGE_KIND_NONE && image->header.kind != expected)
		status = CORE_MALFORMED;
	if (status == CORE_OK)
	{
		key = keyring_find(image->header.key_id);
		if (key == NULL)
		{
			release_miss_key(gate, image);
			return;
		}
		status = seal_check_header(key, bytes, &image->header);
		image->authentic = status == CORE_OK;
	}
	if (status != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a sealed image is damaged: %s", core_status_text(status)),
						errdetail("Its header does not authenticate, so neither its kind nor its "
								  "identity is known."),
						errhint("Restore the row from a backup.")));
}

/* Whether a value of type bytea is what the cast made of an image in this very statement. */
static bool
release_is_stamped(Datum value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	const uint8 *bytes = (const uint8 *) VARDATA(stored);
	EnvelopeHeader header;
	Size length;

	/* what is in TOAST or compressed was not made by this statement's cast */
	if (!VARATT_IS_4B_U(stored))
		return false;
	length = VARSIZE(stored) - VARHDRSZ;
	return envelope_has_magic(bytes, length) &&
		   envelope_parse(bytes, length, length, &header) == CORE_OK && image_stamp_matches(bytes);
}

/*
 * Copies the images of a row into the current context. Returns their number;
 * size grows by their bytes.
 */
static int
release_collect(ReleaseGate *gate, TupleTableSlot *slot, Size *size)
{
	int count = 0;

	for (int i = 0; i < gate->descriptor->natts; i++)
	{
		const GateColumn *column = &gate->promise.columns[i];
		GateImage *image = &gate->row_images[count];

		if (slot->tts_isnull[i] ||
			(column->kind == IMAGE_KIND_NONE &&
			 !(column->stampable && release_is_stamped(slot->tts_values[i]))))
			continue;
		memset(image, 0, sizeof(*image));
		image->column = i;
		image->envelope = release_copy_envelope(slot->tts_values[i]);
		release_examine(gate, image, column->kind);
		/* the stamp has served: it must not leave, not even sealed */
		memset(VARDATA(image->envelope) + ENVELOPE_STAMP_OFFSET, 0, ENVELOPE_STAMP_SIZE);
		*size += VARSIZE(image->envelope);
		count++;
	}
	return count;
}

/* Takes a row into the batch that is being filled; its images are in row_images. */
static void
release_keep(ReleaseGate *gate, TupleTableSlot *slot, int count)
{
	GateBatch *batch = release_filling(gate);
	GateRow *row;
	bool *isnull = slot->tts_isnull;

	if (batch->rows == NULL)
		batch->rows = palloc0_array(GateRow, gate->rows_limit);
	row = &batch->rows[batch->count++];
	row->count = count;
	if (count > 0)
	{
		row->images = palloc_array(GateImage, count);
		memcpy(row->images, gate->row_images, sizeof(GateImage) * count);
		isnull = palloc_array(bool, gate->descriptor->natts);
		memcpy(isnull, slot->tts_isnull, sizeof(bool) * gate->descriptor->natts);
		for (int i = 0; i < count; i++)
			isnull[gate->row_images[i].column] = true;
	}
	row->others = form_minimal_tuple(gate->descriptor, slot->tts_values, isnull);
	batch->size += row->others->t_len + sizeof(GateImage) * count;
}

static bool
release_receive(TupleTableSlot *slot, DestReceiver *self)
{
	ReleaseGate *gate = (ReleaseGate *) self;
	GateBatch *batch = release_filling(gate);
	MemoryContext old;
	int count;

	slot_getallattrs(slot);
	if (batch->context == NULL)
		batch->context =
			AllocSetContextCreate(gate->context, "biometric release batch", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(batch->context);
	count = release_collect(gate, slot, &batch->size);
	if (count == 0 && batch->count == 0 && gate->promised == 0)
	{
		/* nothing to release, nothing that would have to go before it */
		MemoryContextSwitchTo(old);
		return gate->client->receiveSlot(slot, gate->client);
	}
	release_keep(gate, slot, count);
	MemoryContextSwitchTo(old);
	if (batch->count >= gate->rows_limit || gate->promised_size + batch->size >= gate->size_limit)
		release_turn(gate);
	return true;
}

static void
release_startup(DestReceiver *self, int operation, TupleDesc descriptor)
{
	ReleaseGate *gate = (ReleaseGate *) self;

	gate->client->rStartup(gate->client, operation, descriptor);
}

static void
release_shutdown(DestReceiver *self)
{
	ReleaseGate *gate = (ReleaseGate *) self;

	release_turn(gate);
	while (gate->promised > 0)
		release_send_oldest(gate);
	gate->client->rShutdown(gate->client);
}

/* The client's receiver belongs to the portal, which destroys it itself. */
static void
release_destroy(DestReceiver *self)
{
}

DestReceiver *
gate_create(QueryDesc *query)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "biometric release gate",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ReleaseGate *gate = palloc0(sizeof(ReleaseGate));

	gate->receiver.receiveSlot = release_receive;
	gate->receiver.rStartup = release_startup;
	gate->receiver.rShutdown = release_shutdown;
	gate->receiver.rDestroy = release_destroy;
	gate->receiver.mydest = query->dest->mydest;
	gate->client = query->dest;
	gate->promise.statement = gate_statement_current();
	gate->context = context;
	gate->descriptor = query->tupDesc;
	gate->promise.columns = palloc0_array(GateColumn, query->tupDesc->natts);
	gate->row_images = palloc0_array(GateImage, query->tupDesc->natts);
	gate_statement_relations(gate->promise.statement);
	gate->promise.width = query->tupDesc->natts;
	release_describe_columns(gate, query->plannedstmt->planTree->targetlist);
	gate->writer = datarow_create(query->tupDesc, ActivePortal ? ActivePortal->formats : NULL);
	gate->slot = MakeSingleTupleTableSlot(query->tupDesc, &TTSOpsMinimalTuple);
	gate->rows_limit = release_batch_rows;
	gate->size_limit = (Size) release_batch_size * 1024;
	MemoryContextSwitchTo(old);
	return &gate->receiver;
}

void
gate_free(DestReceiver *receiver)
{
	ReleaseGate *gate = (ReleaseGate *) receiver;

	ExecDropSingleTupleTableSlot(gate->slot);
	MemoryContextDelete(gate->context);
}
