/*
 * promise.c - decides batches, takes their quotas and appends their disclosures.
 */
#include "postgres.h"

#include "storage/ipc.h"

#include "core/formats.h"
#include "gate/promise.h"
#include "home/home.h"
#include "policy/quota.h"
#include "retention/retention.h"

/* The most images that one call of ledger_append is given. */
#define PROMISE_APPEND_MAX 1024

static bool purpose_notice_given = false;
static bool outside_notice_given = false;
static bool expired_notice_given = false;

GateSubject
promise_subject(const PromiseGate *gate, const GateImage *image)
{
	GateSubject subject = {.kind = image->header.kind,
						   .shown = gate->columns[image->column].relation};

	/* what a header that nobody vouches for says is not looked up */
	subject.home =
		gate_statement_home(gate->statement, image->authentic ? image->header.home : NULL);
	subject.origin = !image->authentic || memcmp(image->header.origin, image->header.home,
												 ENVELOPE_HOME_SIZE) == 0
						 ? subject.home
						 : gate_statement_home(gate->statement, image->header.origin);
	return subject;
}

/* Tells a session once why it gets sealed values. */
static void
promise_notice_purpose(void)
{
	if (purpose_notice_given)
		return;
	purpose_notice_given = true;
	ereport(NOTICE, (errmsg("images are sent sealed: this session has declared no purpose"),
					 errhint("SET biometric_audit.purpose = '...' to the purpose that the images "
							 "are needed for.")));
}

/* Tells a session once why it gets sealed what it may have opened. */
static void
promise_notice_outside(void)
{
	if (outside_notice_given)
		return;
	outside_notice_given = true;
	ereport(NOTICE,
			(errmsg("an image is sent sealed: it came in sealed from outside"),
			 errdetail("Who may not read the column that it claims to come from does not get it "
					   "opened."),
			 errhint("A custodian who vouches for the column's images makes them its own by "
					 "biometric.adopt(relation, column).")));
}

/* Tells a session once why it gets sealed what has been kept long enough. */
static void
promise_notice_expired(void)
{
	if (expired_notice_given)
		return;
	expired_notice_given = true;
	ereport(NOTICE,
			(errmsg("an image is sent sealed: its retention period is over"),
			 errdetail("The period declared by biometric.retain() for the column that it is in, or "
					   "was copied from, has passed; no permit opens it any more (%s).",
					   reason_name(REASON_RETENTION_EXPIRED)),
			 errhint("It is about to be purged; biometric.retention_status shows the periods to "
					 "custodians and auditors.")));
}

/* What a batch takes of the quota of one permit. */
typedef struct PermitQuota
{
	Decision decision;
	int wanted; /* images of the entries at hand */
	int within; /* of these, the first so many are within the quota */
	int met;	/* how many of them were looked at */
	QuotaTaken taken;
	int64 quota;  /* what it was when the batch took of it; -1: it changed meanwhile */
	int64 window; /* likewise, microseconds; 0: nothing was taken yet */
} PermitQuota;

/*
 * A batch asks once for each (column, kind, home, origin); within one batch
 * the answer must be one and the same.
 */
typedef struct BatchVerdict
{
	GateSubject subject;
	GateVerdict verdict;
	const GateRelation *of;	   /* the relation that the images are of; NULL: not known */
	bool own;				   /* home_may_open() was asked */
	bool may_open;			   /* and its answer */
	struct PermitQuota *quota; /* NULL: its permit has none, or nothing was opened by it yet */
	bool quota_stands;		   /* promise_quota_stands() said so */
} BatchVerdict;

static bool
promise_same_subject(const GateSubject *one, const GateSubject *other)
{
	return one->kind == other->kind && one->shown == other->shown && one->home == other->home &&
		   one->origin == other->origin;
}

/* Asks, and says what there is to say about the answer. */
static BatchVerdict *
promise_judge(const PromiseGate *gate, const GateSubject *subject)
{
	BatchVerdict *judged = palloc0_object(BatchVerdict);
	const Decision *decision = &judged->verdict.decision;

	judged->subject = *subject;
	judged->verdict = gate_statement_judge(gate->statement, subject);
	judged->of = gate_statement_relation_of(gate->statement, subject);
	if (decision->delivery == DELIVERY_REFUSE)
		policy_refuse(decision, subject->kind,
					  judged->verdict.relation ? judged->verdict.relation->name : NULL,
					  gate_command());
	if (decision->reason == REASON_PURPOSE_MISSING && decision->delivery == DELIVERY_SEALED)
		promise_notice_purpose();
	gate_statement_describe(gate->statement, decision);
	return judged;
}

/* The verdict on an image; verdicts: of the batch, List of BatchVerdict, the last one first. */
static BatchVerdict *
promise_verdict(const PromiseGate *gate, List **verdicts, const GateImage *image)
{
	GateSubject subject = promise_subject(gate, image);
	ListCell *cell;

	foreach(cell, *verdicts)
	{
		BatchVerdict *judged = lfirst(cell);

		if (promise_same_subject(&judged->subject, &subject))
			return judged;
	}
	*verdicts = lappend(*verdicts, promise_judge(gate, &subject));
	return llast(*verdicts);
}

/*
 * An imported image opens for who may read the column that it claims to come
 * from, and only if that is known.
 */
static bool
promise_may_open(BatchVerdict *judged)
{
	if (!judged->own)
	{
		judged->may_open =
			judged->subject.home->relation && home_may_open(judged->subject.home->home);
		judged->own = true;
	}
	return judged->may_open;
}

static bool
promise_can_mark(const GateImage *image)
{
	return image->header.format == IMAGE_FORMAT_JPEG || image->header.format == IMAGE_FORMAT_PNG;
}

/* Decides one image; true with its entry filled in when it is to be opened. */
static bool
promise_decide_image(BatchVerdict *judged, GateImage *image, EntryFields *entry)
{
	const Decision *decision = &judged->verdict.decision;

	image->open = false;
	image->outside = false;
	image->expired = false;
	image->mark = false;
	switch (decision->delivery)
	{
		case DELIVERY_OPEN:
			entry->event = ENTRY_DISCLOSED;
			break;
		case DELIVERY_OBSERVE:
			entry->event = ENTRY_OBSERVED;
			entry->reason = decision->reason;
			break;
		case DELIVERY_SEALED:
		case DELIVERY_REFUSE:
		default:
			return false;
	}
	if (!image->authentic)
		return false;
	image->outside =
		(image->header.flags & ENVELOPE_FLAG_IMPORTED) != 0 && !promise_may_open(judged);
	if (image->outside)
	{
		promise_notice_outside();
		return false;
	}
	/* no observation of what nobody may have any more, whatever the enforcement */
	image->expired = retention_expired(&image->header);
	if (image->expired)
	{
		promise_notice_expired();
		return false;
	}
	image->open = true;
	image->mark = decision->mark && promise_can_mark(image);
	entry->marked = image->mark ? 1 : 0;
	entry->image_id = image->header.image_id;
	entry->kind = image->header.kind;
	entry->permit = decision->permit;
	if (judged->of && judged->of->number > 0)
		entry->relation_index = judged->of->number;
	else if (judged->of)
	{
		entry->relation.bytes = judged->of->name;
		entry->relation.length = strlen(judged->of->name);
	}
	return true;
}

/* ---- answers ---- */

/* What was decided on an image. Of one that is not opened, the rest is zero. */
typedef struct PromiseAnswer
{
	bool open;
	bool outside;
	bool expired;
	bool mark;
	bool quota; /* its permit has one */
	EntryEvent event;
	Reason reason;
	uint64 permit;
	const GateRelation *of;
} PromiseAnswer;

/* Decides one image, filling in its entry if it is to be opened. */
static PromiseAnswer
promise_answer(BatchVerdict *judged, GateImage *image, EntryFields *entry)
{
	bool open;

	memset(entry, 0, sizeof(*entry));
	open = promise_decide_image(judged, image, entry);
	if (!open)
		return (PromiseAnswer){.outside = image->outside, .expired = image->expired};
	return (PromiseAnswer){
		.open = true,
		.mark = image->mark,
		.quota = judged->verdict.decision.quota,
		.event = entry->event,
		.reason = entry->reason,
		.permit = entry->permit,
		.of = judged->of,
	};
}

static bool
promise_same_answer(const PromiseAnswer *one, const PromiseAnswer *other)
{
	return one->open == other->open && one->outside == other->outside &&
		   one->expired == other->expired && one->mark == other->mark &&
		   one->quota == other->quota && one->event == other->event &&
		   one->reason == other->reason && one->permit == other->permit && one->of == other->of;
}

/* ---- promising ---- */

/* An image that is to be opened, and where it is. */
typedef struct PromisedImage
{
	int row;
	GateImage *image;
	BatchVerdict *verdict;
} PromisedImage;

/* A batch that is being promised: its whole rows, as many as go into the ledger together. */
typedef struct Promise
{
	const PromiseGate *gate;
	GateBatch *batch;
	List *verdicts; /* BatchVerdict */
	List *quotas;	/* PermitQuota */
	int capacity;
	int count;
	EntryFields *entries;	 /* count of them are to be appended */
	PromisedImage *promised; /* of the entries */
} Promise;

static PermitQuota *
promise_quota(Promise *promise, const Decision *decision)
{
	PermitQuota *quota;
	ListCell *cell;

	foreach(cell, promise->quotas)
	{
		quota = lfirst(cell);
		if (quota->decision.permit == decision->permit)
			return quota;
	}
	quota = palloc0_object(PermitQuota);
	quota->decision = *decision;
	promise->quotas = lappend(promise->quotas, quota);
	return quota;
}

/* Decides the images of a row. */
static void
promise_row(Promise *promise, int number)
{
	GateRow *row = &promise->batch->rows[number];

	if (row->answers == NULL && row->count > 0)
		row->answers = palloc_array(PromiseAnswer, row->count);
	for (int i = 0; i < row->count; i++)
	{
		GateImage *image = &row->images[i];
		BatchVerdict *judged = promise_verdict(promise->gate, &promise->verdicts, image);

		row->answers[i] = promise_answer(judged, image, &promise->entries[promise->count]);
		if (!row->answers[i].open)
			continue;
		if (judged->verdict.decision.quota)
		{
			if (judged->quota == NULL)
				judged->quota = promise_quota(promise, &judged->verdict.decision);
			judged->quota->wanted++;
		}
		promise->promised[promise->count++] = (PromisedImage){number, image, judged};
	}
}

static void
promise_note_quota(PermitQuota *quota)
{
	const QuotaTaken *taken = &quota->taken;

	if (quota->window != 0 && (quota->quota != taken->quota || quota->window != taken->window))
		quota->quota = -1;
	else
		quota->quota = taken->quota;
	quota->window = taken->window;
}

/*
 * Takes a quota for the entries at hand. What is observed anyway is counted beyond it. False
 * when the policy has changed meanwhile: the batch will be promised again.
 */
static bool
promise_take(const Promise *promise, PermitQuota *quota)
{
	bool beyond = quota_exceeded(&quota->decision).delivery == DELIVERY_OBSERVE;

	quota->met = 0;
	quota->within = quota_take(&quota->decision, quota->wanted, beyond, &quota->taken);
	if (quota->within == QUOTA_UNKNOWN)
	{
		quota_await(&quota->decision, promise->batch->generation);
		quota->within = quota_take(&quota->decision, quota->wanted, beyond, &quota->taken);
	}
	promise_note_quota(quota);
	return quota->within == quota->wanted || promise->batch->generation == policy_generation();
}

/* Gives back what was taken and is not on record. The process may be ending: must not raise. */
static void
promise_give_back(int code, Datum arg)
{
	const Promise *promise = (const Promise *) DatumGetPointer(arg);
	ListCell *cell;

	foreach(cell, promise->quotas)
	{
		PermitQuota *quota = lfirst(cell);

		quota_return(&quota->taken, quota->taken.count);
	}
}

/* From an image that goes over its quota on nothing of its row, nor what follows, is promised. */
static void
promise_cut(Promise *promise, int index)
{
	const PromisedImage *over = &promise->promised[index];
	const GateVerdict *verdict = &over->verdict->verdict;
	GateBatch *batch = promise->batch;
	ListCell *cell;

	batch->sendable = over->row;
	batch->over = quota_exceeded(&verdict->decision);
	batch->over_kind = over->image->header.kind;
	batch->over_relation = verdict->relation ? verdict->relation->name : NULL;
	while (index > 0 && promise->promised[index - 1].row == batch->sendable)
		index--;
	for (int i = index; i < promise->count; i++)
		if (promise->promised[i].verdict->quota)
			promise->promised[i].verdict->quota->wanted--;
	foreach(cell, promise->quotas)
	{
		PermitQuota *quota = lfirst(cell);

		quota_return(&quota->taken, quota->taken.count - quota->wanted);
	}
	promise->count = index;
}

/*
 * Takes the quotas of the entries at hand; those that go over are cut off, or become
 * observations. False when the batch must be promised again.
 */
static bool
promise_take_all(Promise *promise)
{
	ListCell *cell;

	foreach(cell, promise->quotas)
		if (!promise_take(promise, lfirst(cell)))
			return false;
	for (int i = 0; i < promise->count; i++)
	{
		const BatchVerdict *judged = promise->promised[i].verdict;
		Decision over;

		if (judged->quota == NULL || ++judged->quota->met <= judged->quota->within)
			continue;
		over = quota_exceeded(&judged->verdict.decision);
		if (over.delivery != DELIVERY_OBSERVE)
		{
			promise_cut(promise, i);
			break;
		}
		promise->entries[i].event = ENTRY_OBSERVED;
		promise->entries[i].reason = over.reason;
	}
	return true;
}

/* Some entries are in the ledger: what was taken for them is kept. */
static void
promise_keep(Promise *promise, int first, int count)
{
	const LedgerTicket *ticket = &promise->batch->ticket;
	ListCell *cell;

	foreach(cell, promise->quotas)
		((PermitQuota *) lfirst(cell))->met = 0;
	for (int i = 0; i < count; i++)
	{
		const PromisedImage *promised = &promise->promised[first + i];

		if (promised->verdict->quota)
			promised->verdict->quota->met++;
		if (promised->image->mark)
		{
			promised->image->sequence = ledger_ticket_sequence(ticket, i);
			promised->image->generation = ticket->generation;
			promised->image->at = promise->entries[first + i].at;
		}
	}
	foreach(cell, promise->quotas)
	{
		PermitQuota *quota = lfirst(cell);

		quota_keep(&quota->taken, quota->met, ticket->first, promise->entries[first].at);
	}
}

static void
promise_append(Promise *promise)
{
	GateBatch *batch = promise->batch;

	for (int first = 0; first < promise->count; first += PROMISE_APPEND_MAX)
	{
		int count = Min(promise->count - first, PROMISE_APPEND_MAX);

		/* there is one ticket a batch */
		ledger_wait(&batch->ticket);
		ledger_append(&promise->gate->statement->ledger, &promise->entries[first], count,
					  &batch->ticket);
		promise_keep(promise, first, count);
	}
}

/* Promises the entries at hand. False when nothing must follow them. */
static bool
promise_flush(Promise *promise)
{
	bool taken = true;
	ListCell *cell;

	if (promise->quotas == NIL)
		promise_append(promise);
	else
	{
		PG_ENSURE_ERROR_CLEANUP(promise_give_back, PointerGetDatum(promise));
		{
			taken = promise_take_all(promise);
			if (taken)
				promise_append(promise);
		}
		PG_END_ENSURE_ERROR_CLEANUP(promise_give_back, PointerGetDatum(promise));
		promise_give_back(0, PointerGetDatum(promise));
	}
	promise->count = 0;
	foreach(cell, promise->quotas)
		((PermitQuota *) lfirst(cell))->wanted = 0;
	promise->batch->complete = taken;
	return taken && promise->batch->sendable == promise->batch->count;
}

void
promise_make(const PromiseGate *gate, GateBatch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	Promise promise = {.gate = gate, .batch = batch};
	bool more = true;

	promise.capacity = Min(batch->count * gate->width, Max(PROMISE_APPEND_MAX, gate->width));
	promise.entries = palloc_array(EntryFields, promise.capacity);
	promise.promised = palloc_array(PromisedImage, promise.capacity);
	memset(&batch->ticket, 0, sizeof(batch->ticket));
	batch->generation = policy_generation();
	batch->rules = retention_generation();
	batch->sendable = batch->count;
	batch->complete = true;
	for (int r = 0; r < batch->count && more; r++)
	{
		/* whole rows go together: a quota lets all of a row pass, or nothing */
		if (promise.count + batch->rows[r].count > promise.capacity)
			more = promise_flush(&promise);
		if (more)
			promise_row(&promise, r);
	}
	if (more)
		(void) promise_flush(&promise);
	batch->quotas = promise.quotas;
	batch->party = gate->statement->party;
	batch->network = gate->statement->network;
	batch->purpose = gate->statement->purpose;
	MemoryContextSwitchTo(old);
}

/* ---- renewing ---- */

/*
 * Tells whether a permit's quota is what it was when the batch took of it. What was taken is counted
 * by then, in whichever way: by who took it, or by the worker from the ledger.
 */
static bool
promise_quota_stands(const GateBatch *batch, const Decision *decision)
{
	QuotaState state = quota_look(decision);
	ListCell *cell;

	foreach(cell, batch->quotas)
	{
		const PermitQuota *quota = lfirst(cell);

		if (quota->decision.permit == decision->permit)
			return quota->quota == state.quota && quota->window == state.window;
	}
	return false;
}

/* Tells whether the images of a row get the answers that they got. */
static bool
promise_row_stands(const PromiseGate *gate, const GateBatch *batch, List **verdicts,
				   const GateRow *row)
{
	for (int i = 0; i < row->count; i++)
	{
		GateImage image = row->images[i];
		BatchVerdict *judged = promise_verdict(gate, verdicts, &image);
		EntryFields entry;
		PromiseAnswer answer = promise_answer(judged, &image, &entry);

		if (row->answers == NULL || !promise_same_answer(&answer, &row->answers[i]))
			return false;
		if (answer.quota && !judged->quota_stands)
			judged->quota_stands = promise_quota_stands(batch, &judged->verdict.decision);
		if (answer.quota && !judged->quota_stands)
			return false;
	}
	return true;
}

static bool
promise_same_text(const char *one, const char *other)
{
	return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

/* Tells whether what was promised is what would be promised now. Raises when it is refused. */
static bool
promise_stands(const PromiseGate *gate, const GateBatch *batch)
{
	const GateStatement *statement = gate->statement;
	List *verdicts = NIL;

	if (!batch->complete)
		return false;
	/* the row that goes over a quota counts, too: it might not any more */
	for (int r = 0; r < batch->count && r <= batch->sendable; r++)
		if (!promise_row_stands(gate, batch, &verdicts, &batch->rows[r]))
			return false;
	return promise_same_text(batch->party, statement->party) &&
		   promise_same_text(batch->network, statement->network) &&
		   promise_same_text(batch->purpose, statement->purpose);
}

bool
promise_is_current(const GateBatch *batch)
{
	return batch->generation == policy_generation() && batch->rules == retention_generation();
}

void
promise_renew(const PromiseGate *gate, GateBatch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	uint64 generation = policy_generation();
	uint64 rules = retention_generation();
	bool stands = promise_stands(gate, batch);

	MemoryContextSwitchTo(old);
	if (stands)
	{
		batch->generation = generation;
		batch->rules = rules;
	}
	else
		promise_make(gate, batch);
}

void
promise_refuse_rest(const GateBatch *batch)
{
	policy_refuse(&batch->over, batch->over_kind, batch->over_relation, gate_command());
}
