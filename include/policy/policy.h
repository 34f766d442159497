/*
 * policy.h - who may receive what: the published policy and decide().
 *
 * The tables party, network and permit are read by the ledger's worker, which
 * publishes the committed policy of its database to shared memory with a
 * generation number. policy_decide reads only that: no snapshot, the same
 * answer in every isolation level. Not published means refuse.
 */
#ifndef BIOMETRIC_POLICY_POLICY_H
#define BIOMETRIC_POLICY_POLICY_H

#include "base/compat.h"

#include "nodes/pg_list.h"

#include "core/entry.h"
#include "core/kinds.h"

/* From the most restrictive on, so that the smaller of two is the safer. */
typedef enum Delivery
{
	DELIVERY_REFUSE = 0,
	DELIVERY_SEALED = 1,
	DELIVERY_OBSERVE = 2,
	DELIVERY_OPEN = 3
} Delivery;

typedef struct DecideRequest
{
	ImageKind kind;
	/*
	 * The relation that the image is read from and its ancestors, as
	 * relation_lineage() has them; NIL when it is not known. Borrowed.
	 */
	List *relations;
	const char *purpose; /* declared for the statement, NULL: none; usually policy_purpose() */
} DecideRequest;

/*
 * A decision. The texts belong to the backend's copy of the policy: valid
 * until the end of the transaction, copy what must last.
 */
typedef struct Decision
{
	Delivery delivery;
	Reason reason;		 /* REASON_PERMITTED, or the first rule that failed */
	int64 permit;		 /* permit that decided; 0: none */
	bool named;			 /* the permit is for a relation, not for any */
	bool quota;			 /* the permit has a quota: quota_take() before anything is released */
	bool mark;			 /* the permit asks for marked release */
	int counter;		 /* of the quota; for quota.c */
	uint32 key;			 /* that is not at hand; 0: the whole keyring, or none was needed */
	const char *purpose; /* as it was asked for */
	const char *party;	 /* NULL: network unknown */
	const char *network; /* the matched CIDR as text, or "local"; NULL */
} Decision;

/* What policy knows of the client of this session; asked once a session. */
typedef struct PolicyClient
{
	bool present;  /* a client backend or walsender with a connection */
	bool local;	   /* unix socket */
	bool own_host; /* its address is one of this host's */
	bool tls;
	char address[64]; /* normalised text, without zone; "local" for a unix socket */
} PolicyClient;

/* policy_define_settings: biometric_audit.enforcement, .purpose, .policy_size (kB). From _PG_init. */
extern void policy_define_settings(void);
extern Size policy_shmem_size(void);
extern void policy_shmem_request(void);
extern void policy_shmem_init(void);

/* policy_init registers the worker's publishing task and the transaction callbacks; from _PG_init. */
extern void policy_init(void);

/*
 * policy_decide is the only code that says yes or no. Order, the first that
 * fails giving the reason: ledger, keys, standby, client, network, party's
 * contract and quarantine, permit, TLS, purpose. biometric_audit.enforcement
 * = observe turns a refusal by policy (not by ledger, keys, standby or quarantine) into
 * DELIVERY_OBSERVE with the reason kept. Never raises for a policy reason;
 * any internal doubt is DELIVERY_REFUSE.
 */
extern Decision policy_decide(const DecideRequest *request);

/*
 * policy_names_relation tells whether the client's party has a permit for
 * just this relation, of any kind or delivery.
 */
extern bool policy_names_relation(Oid relation);

/*
 * policy_generation returns a number that changes whenever a decision taken
 * earlier in this statement may have changed by publication. (Expiry of
 * contracts and permits does not change it: decide again at every batch.)
 */
extern uint64 policy_generation(void);

/*
 * policy_publications returns a number that changes with each publication, also of what
 * was published already: for what is kept of the policy's tables but is not in what is published.
 */
extern uint64 policy_publications(void);

/* policy_client returns what is known of this session's client. */
extern const PolicyClient *policy_client(void);

/* policy_purpose returns the purpose declared by this session or its client, or NULL. */
extern const char *policy_purpose(void);

/*
 * policy_purpose_declarations counts how often the setting was changed in this
 * session; policy_purpose_expect raises 55000 when it was changed since a
 * count: by a function that ran while a statement was planned or started,
 * where it would count for the very statement that changes it.
 */
extern uint64 policy_purpose_declarations(void);
extern void policy_purpose_expect(uint64 declarations);

/* delivery_name returns "open", "observe", "sealed" or "refuse". */
extern const char *delivery_name(Delivery delivery);

/*
 * policy_refuse records a refusal durably in the ledger and then raises it:
 * SQLSTATE 42501; message with kind, relation and party or address; DETAIL
 * the rule; HINT what to do. When the ledger cannot record it, the refusal is
 * raised all the same and errdetail_log says so.
 *
 * decision: delivery must be DELIVERY_REFUSE. relation: qualified name or
 * NULL. command: command tag for the entry.
 */
pg_noreturn extern void policy_refuse(const Decision *decision, ImageKind kind,
									  const char *relation, const char *command);

#endif
